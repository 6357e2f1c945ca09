// The launcher: parent of every RUN process (SBX-12). Static, single-threaded, without heap, started from a
// sealed memfd, so that nothing inside a sandbox can reach the memory or the file of the builder (SBX-13). It
// leaves no trace of its own: whatever it cannot do it tells the builder.
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "builder/launcher/request.h"

namespace {

using namespace imgbuild::launch;

constexpr int kMaxChildren = 256;

struct Child {
  int pidfd = -1;
  pid_t pid = -1;
  int reply = -1;
  bool is_keeper = false;
};

Child g_children[kMaxChildren];
int g_child_count = 0;
Alive g_alive;

/// Started by anybody but the builder (an image's interpreter line, SBX-13) there is no control socket.
bool has_control_socket() {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(kControlFd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

bool receive(Launch& launch, bool& closed) {
  LaunchMessage message;
  iovec part{&message, sizeof message};
  alignas(cmsghdr) static char control[CMSG_SPACE(sizeof(int) * kMaxFds)];
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t got = ::recvmsg(kControlFd, &header, MSG_CMSG_CLOEXEC);
  if (got == 0) closed = true;
  for (cmsghdr* part_of = CMSG_FIRSTHDR(&header); got > 0 && part_of != nullptr;
       part_of = CMSG_NXTHDR(&header, part_of)) {
    if (part_of->cmsg_level != SOL_SOCKET || part_of->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t bytes = part_of->cmsg_len - CMSG_LEN(0);
    launch.fd_count = static_cast<int>(bytes / sizeof(int));
    std::memcpy(launch.fds, CMSG_DATA(part_of), bytes);
  }
  return got == static_cast<ssize_t>(sizeof message) && message.magic == kMessageMagic &&
         message.fd_count == static_cast<std::uint32_t>(launch.fd_count) && launch.fd_count >= fd_first_mount;
}

bool map_request(Launch& launch) {
  struct stat info {};
  if (::fstat(launch.fds[fd_request], &info) != 0 || info.st_size < static_cast<off_t>(sizeof(LaunchRequest)))
    return false;
  launch.size = static_cast<std::uint64_t>(info.st_size);
  void* mapped = ::mmap(nullptr, launch.size, PROT_READ, MAP_PRIVATE, launch.fds[fd_request], 0);
  if (mapped == MAP_FAILED) return false;
  launch.bytes = static_cast<const char*>(mapped);
  launch.request = static_cast<const LaunchRequest*>(mapped);
  return launch.request->magic == kRequestMagic && launch.request->size == launch.size &&
         launch.bytes[launch.size - 1] == '\0';
}

/// CLONE_INTO_CGROUP: a kernel or filter that does not have it leaves the joining to the child.
long clone3_child(clone_args args, int cgroup) {
  if (cgroup >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<std::uint64_t>(cgroup);
    const long pid = ::syscall(SYS_clone3, &args, sizeof args);
    if (pid >= 0 || (errno != E2BIG && errno != EINVAL && errno != EOPNOTSUPP)) return pid;
    args.flags &= ~static_cast<std::uint64_t>(CLONE_INTO_CGROUP);
    args.cgroup = 0;
  }
  return ::syscall(SYS_clone3, &args, sizeof args);
}

std::uint64_t namespaces(const LaunchRequest& request) {
  if (request.chroot_only != 0) return 0;
  std::uint64_t flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
  // The namespace begins at the group it is made in, so who joins a group first makes it afterwards (SBX-20).
  if (request.cgroups.count == 0) flags |= CLONE_NEWCGROUP;
  if (request.shared_processes == 0) flags |= CLONE_NEWPID;
  if (request.new_network != 0) flags |= CLONE_NEWNET;
  return flags;
}

pid_t clone_with(const Launch& launch, std::uint64_t flags, int& pidfd) {
  const LaunchRequest& request = *launch.request;
  clone_args args{};
  args.flags = flags | CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
  args.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  const long pid = clone3_child(args, request.cgroup_dir == kNone ? -1 : launch.fds[request.cgroup_dir]);
  if (pid >= 0 || (errno != ENOSYS && errno != EPERM)) return static_cast<pid_t>(pid);
  // Filters of outer sandboxes answer clone3 with ENOSYS on purpose, some with EPERM (SBX-22). Where it is
  // the clone that is not permitted this says so again.
  const unsigned long old_flags = (args.flags & 0xffffffffu) | SIGCHLD;
  return static_cast<pid_t>(::syscall(SYS_clone, old_flags, nullptr, &pidfd, nullptr, 0));
}

}  // namespace

namespace imgbuild::launch {

pid_t clone_child(const Launch& launch, int& pidfd) {
  return clone_with(launch, namespaces(*launch.request), pidfd);
}

void send_answer(int reply, const void* answer, std::size_t size, int fd) {
  iovec part{const_cast<void*>(answer), size};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (fd >= 0) {
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  }
  ::sendmsg(reply, &header, MSG_NOSIGNAL);
}

void send_started(int reply, int error_number, int pidfd) {
  Started started;
  started.error_number = error_number;
  send_answer(reply, &started, sizeof started, pidfd);
}

}  // namespace imgbuild::launch

namespace {

/// Starts one child, keeps its reply socket, closes everything else that came with the request.
void launch_one(Launch& launch) {
  const int reply = launch.fds[fd_reply];
  int pidfd = -1;
  pid_t pid = -1;
  int error_number = 0;
  bool is_keeper = false;
  if (!map_request(launch))
    error_number = EPROTO;
  else if (g_child_count == kMaxChildren)
    error_number = EAGAIN;
  else if (launch.request->shared_processes != 0) {
    is_keeper = true;
    pid = clone_with(launch, 0, pidfd);
    if (pid == 0) keep(launch, g_alive);
    if (pid < 0) error_number = errno;
  } else {
    pid = clone_child(launch, pidfd);
    if (pid == 0) run_child(launch, g_alive);
    if (pid < 0) error_number = errno;
  }
  // A keeper tells itself. A clone that fails may have written a number as well.
  if (!is_keeper || pid < 0) send_started(reply, error_number, pid > 0 ? pidfd : -1);
  if (launch.bytes != nullptr) ::munmap(const_cast<char*>(launch.bytes), launch.size);
  for (int i = 0; i < launch.fd_count; ++i)
    if (i != fd_reply || pid < 0) ::close(launch.fds[i]);
  if (pid > 0) g_children[g_child_count++] = {pidfd, pid, reply, is_keeper};
}

/// Collects a child that ended: when wait4 returns, everything in its pid namespace is gone too (SBX-80).
void collect(int index) {
  Child& child = g_children[index];
  int status = 0;
  rusage usage{};
  if (::wait4(child.pid, &status, 0, &usage) != child.pid) return;
  Ended ended;
  if (WIFSIGNALED(status))
    ended.signal = WTERMSIG(status);
  else
    ended.exit_code = WEXITSTATUS(status);
  const auto nanoseconds = [](const timeval& time) {
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000u +
           static_cast<std::uint64_t>(time.tv_usec) * 1000u;
  };
  ended.cpu_nanoseconds = nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime);
  ended.peak_memory_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024u;
  const Child gone = child;
  child = g_children[--g_child_count];
  if (gone.is_keeper) {
    static pid_t known[kMaxChildren];
    for (int i = 0; i < g_child_count; ++i) known[i] = g_children[i].pid;
    kill_strays(known, g_child_count);
  }
  ::send(gone.reply, &ended, sizeof ended, MSG_NOSIGNAL);
  ::close(gone.reply);
  ::close(gone.pidfd);
}

}  // namespace

int main() {
  if (!has_control_socket()) return kExitNotLauncher;
  ::prctl(PR_SET_DUMPABLE, 0);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // for what a killed keeper leaves behind
  ::prctl(PR_SET_NAME, "imgbuild-run");
  if (::chdir("/") != 0) return kExitNotLauncher;
  ::umask(0);
  g_alive.watch = static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0));
  if (g_alive.watch <
      0) {  // a filter that does not know it: a pipe of which we hold the other end tells as much
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return kExitNotLauncher;
    g_alive = {ends[0], ends[1]};
  }
  for (;;) {
    static pollfd waits[kMaxChildren + 1];
    waits[0] = {kControlFd, POLLIN, 0};
    for (int i = 0; i < g_child_count; ++i) waits[i + 1] = {g_children[i].pidfd, POLLIN, 0};
    const int watched = g_child_count;
    if (::poll(waits, static_cast<nfds_t>(watched) + 1, -1) < 0) continue;
    for (int i = watched; i > 0; --i)  // from the end: collect() moves the last one into the gap
      if (waits[i].revents != 0) collect(i - 1);
    if (waits[0].revents == 0) continue;
    static Launch launch;
    launch = Launch{};
    bool closed = false;
    if (receive(launch, closed))
      launch_one(launch);
    else if (closed)
      return 0;  // the builder is gone: the children follow by their parent-death signal (SBX-86)
    else
      for (int i = 0; i < launch.fd_count; ++i) ::close(launch.fds[i]);
  }
}
