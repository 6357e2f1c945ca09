#include "builder/seccomp_names.h"

namespace imgbuild::builder {

namespace {

constexpr AllowedCall kAllowed[] = {
    {"accept"}, {"accept4"}, {"access"}, {"adjtimex"}, {"alarm"}, {"bind"}, {"brk"}, {"cachestat", 451}, {"capget"},
    {"capset"}, {"chdir"}, {"chmod"}, {"chown"}, {"chown32"}, {"clock_adjtime"}, {"clock_adjtime64"},
    {"clock_getres"}, {"clock_getres_time64"}, {"clock_gettime"}, {"clock_gettime64"}, {"clock_nanosleep"},
    {"clock_nanosleep_time64"}, {"close"}, {"close_range", 436}, {"connect"}, {"copy_file_range"}, {"creat"}, {"dup"},
    {"dup2"}, {"dup3"}, {"epoll_create"}, {"epoll_create1"}, {"epoll_ctl"}, {"epoll_ctl_old"}, {"epoll_pwait"},
    {"epoll_pwait2", 441}, {"epoll_wait"}, {"epoll_wait_old"}, {"eventfd"}, {"eventfd2"}, {"execve"}, {"execveat"},
    {"exit"}, {"exit_group"}, {"faccessat"}, {"faccessat2", 439}, {"fadvise64"}, {"fadvise64_64"}, {"fallocate"},
    {"fanotify_mark"}, {"fchdir"}, {"fchmod"}, {"fchmodat"}, {"fchmodat2", 452}, {"fchown"}, {"fchown32"},
    {"fchownat"}, {"fcntl"}, {"fcntl64"}, {"fdatasync"}, {"fgetxattr"}, {"flistxattr"}, {"flock"}, {"fork"},
    {"fremovexattr"}, {"fsetxattr"}, {"fstat"}, {"fstat64"}, {"fstatat64"}, {"fstatfs"}, {"fstatfs64"}, {"fsync"},
    {"ftruncate"}, {"ftruncate64"}, {"futex"}, {"futex_requeue", 456}, {"futex_time64"}, {"futex_wait", 455},
    {"futex_waitv", 449}, {"futex_wake", 454}, {"futimesat"}, {"getcpu"}, {"getcwd"}, {"getdents"}, {"getdents64"},
    {"getegid"}, {"getegid32"}, {"geteuid"}, {"geteuid32"}, {"getgid"}, {"getgid32"}, {"getgroups"}, {"getgroups32"},
    {"getitimer"}, {"getpeername"}, {"getpgid"}, {"getpgrp"}, {"getpid"}, {"getppid"}, {"getpriority"}, {"getrandom"},
    {"getresgid"}, {"getresgid32"}, {"getresuid"}, {"getresuid32"}, {"getrlimit"}, {"get_robust_list"}, {"getrusage"},
    {"getsid"}, {"getsockname"}, {"getsockopt"}, {"get_thread_area"}, {"gettid"}, {"gettimeofday"}, {"getuid"},
    {"getuid32"}, {"getxattr"}, {"getxattrat", 464}, {"inotify_add_watch"}, {"inotify_init"}, {"inotify_init1"},
    {"inotify_rm_watch"}, {"io_cancel"}, {"ioctl"}, {"io_destroy"}, {"io_getevents"}, {"io_pgetevents"},
    {"io_pgetevents_time64"}, {"ioprio_get"}, {"ioprio_set"}, {"io_setup"}, {"io_submit"}, {"ipc"}, {"kill"},
    {"landlock_add_rule", 445}, {"landlock_create_ruleset", 444}, {"landlock_restrict_self", 446}, {"lchown"},
    {"lchown32"}, {"lgetxattr"}, {"link"}, {"linkat"}, {"listen"}, {"listmount", 458}, {"listxattr"},
    {"listxattrat", 465}, {"llistxattr"}, {"_llseek"}, {"lremovexattr"}, {"lseek"}, {"lsetxattr"}, {"lstat"},
    {"lstat64"}, {"madvise"}, {"map_shadow_stack", 453}, {"membarrier"}, {"memfd_create"}, {"memfd_secret", 447},
    {"mincore"}, {"mkdir"}, {"mkdirat"}, {"mknod"}, {"mknodat"}, {"mlock"}, {"mlock2"}, {"mlockall"}, {"mmap"},
    {"mmap2"}, {"mprotect"}, {"mq_getsetattr"}, {"mq_notify"}, {"mq_open"}, {"mq_timedreceive"},
    {"mq_timedreceive_time64"}, {"mq_timedsend"}, {"mq_timedsend_time64"}, {"mq_unlink"}, {"mremap"}, {"mseal", 462},
    {"msgctl"}, {"msgget"}, {"msgrcv"}, {"msgsnd"}, {"msync"}, {"munlock"}, {"munlockall"}, {"munmap"},
    {"name_to_handle_at"}, {"nanosleep"}, {"newfstatat"}, {"_newselect"}, {"open"}, {"openat"}, {"openat2", 437},
    {"pause"}, {"pidfd_open", 434}, {"pidfd_send_signal", 424}, {"pipe"}, {"pipe2"}, {"pkey_alloc"}, {"pkey_free"},
    {"pkey_mprotect"}, {"poll"}, {"ppoll"}, {"ppoll_time64"}, {"prctl"}, {"pread64"}, {"preadv"}, {"preadv2"},
    {"prlimit64"}, {"process_mrelease", 448}, {"process_vm_readv"}, {"process_vm_writev"}, {"pselect6"},
    {"pselect6_time64"}, {"ptrace"}, {"pwrite64"}, {"pwritev"}, {"pwritev2"}, {"read"}, {"readahead"}, {"readlink"},
    {"readlinkat"}, {"readv"}, {"recv"}, {"recvfrom"}, {"recvmmsg"}, {"recvmmsg_time64"}, {"recvmsg"},
    {"remap_file_pages"}, {"removexattr"}, {"removexattrat", 466}, {"rename"}, {"renameat"}, {"renameat2"},
    {"restart_syscall"}, {"rmdir"}, {"rseq"}, {"rt_sigaction"}, {"rt_sigpending"}, {"rt_sigprocmask"},
    {"rt_sigqueueinfo"}, {"rt_sigreturn"}, {"rt_sigsuspend"}, {"rt_sigtimedwait"}, {"rt_sigtimedwait_time64"},
    {"rt_tgsigqueueinfo"}, {"sched_getaffinity"}, {"sched_getattr"}, {"sched_getparam"}, {"sched_get_priority_max"},
    {"sched_get_priority_min"}, {"sched_getscheduler"}, {"sched_rr_get_interval"}, {"sched_rr_get_interval_time64"},
    {"sched_setaffinity"}, {"sched_setattr"}, {"sched_setparam"}, {"sched_setscheduler"}, {"sched_yield"},
    {"seccomp"}, {"select"}, {"semctl"}, {"semget"}, {"semop"}, {"semtimedop"}, {"semtimedop_time64"}, {"send"},
    {"sendfile"}, {"sendfile64"}, {"sendmmsg"}, {"sendmsg"}, {"sendto"}, {"setfsgid"}, {"setfsgid32"}, {"setfsuid"},
    {"setfsuid32"}, {"setgid"}, {"setgid32"}, {"setgroups"}, {"setgroups32"}, {"setitimer"}, {"setpgid"},
    {"setpriority"}, {"setregid"}, {"setregid32"}, {"setresgid"}, {"setresgid32"}, {"setresuid"}, {"setresuid32"},
    {"setreuid"}, {"setreuid32"}, {"setrlimit"}, {"set_robust_list"}, {"setsid"}, {"setsockopt"}, {"set_thread_area"},
    {"set_tid_address"}, {"setuid"}, {"setuid32"}, {"setxattr"}, {"setxattrat", 463}, {"shmat"}, {"shmctl"},
    {"shmdt"}, {"shmget"}, {"shutdown"}, {"sigaltstack"}, {"signalfd"}, {"signalfd4"}, {"sigprocmask"}, {"sigreturn"},
    {"socketcall"}, {"socketpair"}, {"splice"}, {"stat"}, {"stat64"}, {"statfs"}, {"statfs64"}, {"statmount", 457},
    {"statx"}, {"symlink"}, {"symlinkat"}, {"sync"}, {"sync_file_range"}, {"syncfs"}, {"sysinfo"}, {"tee"},
    {"tgkill"}, {"time"}, {"timer_create"}, {"timer_delete"}, {"timer_getoverrun"}, {"timer_gettime"},
    {"timer_gettime64"}, {"timer_settime"}, {"timer_settime64"}, {"timerfd_create"}, {"timerfd_gettime"},
    {"timerfd_gettime64"}, {"timerfd_settime"}, {"timerfd_settime64"}, {"times"}, {"tkill"}, {"truncate"},
    {"truncate64"}, {"ugetrlimit"}, {"umask"}, {"uname"}, {"unlink"}, {"unlinkat"}, {"uretprobe"}, {"utime"},
    {"utimensat"}, {"utimensat_time64"}, {"utimes"}, {"vfork"}, {"vmsplice"}, {"wait4"}, {"waitid"}, {"waitpid"},
    {"write"}, {"writev"}, {"chroot"}, {"arch_prctl"}, {"modify_ldt"}, {"sync_file_range2"}, {"arm_fadvise64_64"},
    {"arm_sync_file_range"}, {"breakpoint"}, {"cacheflush"}, {"set_tls"},
};

}  // namespace

std::span<const AllowedCall> allowed_calls() noexcept { return kAllowed; }

}  // namespace imgbuild::builder
