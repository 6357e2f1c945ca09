#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstring>

#include "builder/launcher/request.h"

namespace imgbuild::launch {

namespace {

void bring_loopback_up(const Launch& launch) {
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (socket < 0 || ::ioctl(socket, SIOCSIFFLAGS, &request) != 0) give_up(launch, Stage::network, "lo");
  ::close(socket);
}

/// A soft limit of millions makes old programs that close every descriptor crawl, a tiny one breaks servers
/// (SBX-77). What the kernel refuses stays as it is: raising hard limits may be forbidden even to root.
void set_limits() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    const rlim_t wanted = files.rlim_max < 65536 ? files.rlim_max : 65536;
    if (files.rlim_cur < wanted) files.rlim_cur = wanted;
    if (files.rlim_cur > 1048576) files.rlim_cur = 1048576;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  rlimit core{};
  if (::getrlimit(RLIMIT_CORE, &core) == 0) {
    core.rlim_cur = 0;  // a core file would land in the layer
    ::setrlimit(RLIMIT_CORE, &core);
  }
}

void set_capabilities(const Launch& launch, std::uint64_t mask) {
  __user_cap_header_struct header{};
  header.version = _LINUX_CAPABILITY_VERSION_3;
  __user_cap_data_struct data[2]{};
  for (unsigned i = 0; i < 2; ++i) {
    data[i].permitted = static_cast<std::uint32_t>(mask >> (32 * i));
    data[i].effective = data[i].permitted;
  }
  if (::syscall(SYS_capset, &header, data) != 0) give_up(launch, Stage::capabilities, "");
}

std::uint64_t permitted_capabilities(const Launch& launch) {
  __user_cap_header_struct header{};
  header.version = _LINUX_CAPABILITY_VERSION_3;
  __user_cap_data_struct data[2]{};
  if (::syscall(SYS_capget, &header, data) != 0) give_up(launch, Stage::capabilities, "");
  return data[0].permitted | (static_cast<std::uint64_t>(data[1].permitted) << 32);
}

}  // namespace

void join_cgroups(const Launch& launch) {
  const Range& range = launch.request->cgroups;
  if (range.count == 0) return;
  const auto* joins = launch.array<std::uint32_t>(range);
  for (std::uint32_t i = 0; i < range.count; ++i)
    if (::write(launch.fds[joins[i]], "0", 1) != 1) give_up(launch, Stage::cgroup, "");
  if (launch.request->chroot_only == 0 && ::unshare(CLONE_NEWCGROUP) != 0)
    give_up(launch, Stage::cgroup, "namespace");
}

void set_up_session(const Launch& launch) {
  const char* hostname = launch.string(launch.request->hostname);
  if (launch.request->chroot_only == 0 && ::sethostname(hostname, std::strlen(hostname)) != 0)
    give_up(launch, Stage::hostname, hostname);
  if (launch.request->new_network != 0) bring_loopback_up(launch);
  // Without a keyring of its own the command could read the keys of whoever started the builder. Not every
  // kernel has keys (SBX-78).
  ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);
  if (::setsid() < 0 && ::getsid(0) != ::getpid()) give_up(launch, Stage::session, "");
  set_limits();
  ::umask(022);
}

void set_ulimits(const Launch& launch) {
  const auto* limits = launch.array<LaunchLimit>(launch.request->limits);
  for (std::uint32_t i = 0; i < launch.request->limits.count; ++i) {
    const rlimit64 wanted{limits[i].soft, limits[i].hard};
    if (::syscall(SYS_prlimit64, 0, limits[i].resource, &wanted, nullptr) != 0)
      give_up(launch, Stage::limits, launch.string(limits[i].name));
  }
}

void set_processors(const Launch& launch) {
  const Range& mask = launch.request->processors;
  if (mask.count == 0) return;
  if (::syscall(SYS_sched_setaffinity, 0, static_cast<std::size_t>(mask.count),
                launch.array<unsigned char>(mask)) != 0)
    give_up(launch, Stage::limits, "processors (--cpus)");
}

void set_label(const Launch& launch) {
  if (launch.request->label == kNone) return;
  const char* label = launch.string(launch.request->label);
  const std::size_t size = std::strlen(label);
  char path[128] = "/proc/thread-self/", text[256] = "exec ";
  std::strncat(path, launch.string(launch.request->label_file), sizeof path - std::strlen(path) - 1);
  std::strncat(text, label, sizeof text - std::strlen(text) - 1);
  const int file = ::open(path, O_RDWR | O_CLOEXEC);
  struct statfs where {};
  // The image has no say in what lies there (SBX-45).
  if (file < 0 || ::fstatfs(file, &where) != 0 || where.f_type != PROC_SUPER_MAGIC)
    give_up(launch, Stage::label, label);
  const ssize_t length = static_cast<ssize_t>(std::strlen(text));
  if (::write(file, text, static_cast<std::size_t>(length)) != length) give_up(launch, Stage::label, label);
  char answer[256] = {};
  const ssize_t got = ::pread(file, answer, sizeof answer - 1, 0);
  if (got < static_cast<ssize_t>(size) || std::strncmp(answer, label, size) != 0) {
    errno = EACCES;
    give_up(launch, Stage::label, label);
  }
  ::close(file);
}

void load_filter(const Launch& launch) {
  const Range& range = launch.request->filter;
  if (range.count == 0) return;
  sock_fprog program{};
  program.len = static_cast<unsigned short>(range.count);
  program.filter = const_cast<sock_filter*>(launch.array<sock_filter>(range));
  // Without no_new_privs: sudo and file capabilities work as in Docker (SBX-71).
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) give_up(launch, Stage::seccomp, "");
}

void become_user(const Launch& launch) {
  const LaunchRequest& request = *launch.request;
  const std::uint64_t mask = request.capabilities & permitted_capabilities(launch);
  for (unsigned capability = 0; capability < 64; ++capability) {
    const int held = ::prctl(PR_CAPBSET_READ, capability);
    if (held < 0) break;  // beyond the last one this kernel knows
    if (held == 1 && (mask >> capability & 1u) == 0 && ::prctl(PR_CAPBSET_DROP, capability) != 0)
      give_up(launch, Stage::capabilities, "");
  }
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  ::prctl(PR_SET_KEEPCAPS, 1);
  // The raw calls: the library's own would signal threads that do not exist.
  if (request.no_groups == 0 && ::syscall(SYS_setgroups, static_cast<std::size_t>(request.groups.count),
                                          launch.array<gid_t>(request.groups)) != 0)
    give_up(launch, Stage::identity, "supplementary groups");
  if (::syscall(SYS_setresgid, request.gid, request.gid, request.gid) != 0)
    give_up(launch, Stage::identity, "group");
  if (::syscall(SYS_setresuid, request.uid, request.uid, request.uid) != 0)
    give_up(launch, Stage::identity, "user");
  set_capabilities(launch, request.uid == 0 ? mask : 0);
  ::prctl(PR_SET_KEEPCAPS, 0);
}

}  // namespace imgbuild::launch
