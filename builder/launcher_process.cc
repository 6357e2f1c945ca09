#include "builder/launcher_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "builder/launcher_image.h"
#include "builder/sandbox_protocol.h"

namespace imgbuild::builder {

namespace {

/// What posix_spawn is told; released in the destructor.
struct SpawnPlan {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnPlan() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
  }
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
};

}  // namespace

LauncherProcess::LauncherProcess() {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    throw SystemError(errno, "create", "a socket");
  control_.reset(pair[0]);
  // Above the number it gets in the launcher, so that dup2 always makes a copy without close-on-exec.
  const UniqueFd theirs(::fcntl(pair[1], F_DUPFD_CLOEXEC, 16));
  ::close(pair[1]);
  const UniqueFd program_low = make_launcher_file();
  const UniqueFd program(::fcntl(program_low.get(), F_DUPFD_CLOEXEC, 16));
  if (!theirs || !program) throw SystemError(errno, "duplicate", "a descriptor");

  SpawnPlan plan;
  for (int fd = 0; fd < 3; ++fd)
    ::posix_spawn_file_actions_addopen(&plan.actions, fd, "/dev/null", O_RDWR, 0);
  ::posix_spawn_file_actions_adddup2(&plan.actions, theirs.get(), launch::kControlFd);
  sigset_t every, none;
  ::sigfillset(&every);
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigdefault(&plan.attributes, &every);
  ::posix_spawnattr_setsigmask(&plan.attributes, &none);
  // A session of its own: Ctrl-C on the terminal is for the builder alone, which then stops what runs.
  ::posix_spawnattr_setflags(&plan.attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK |
                                                   static_cast<short>(POSIX_SPAWN_SETSID));
  char name[] = "imgbuild-launcher";
  char* argv[] = {name, nullptr};
  char* env[] = {nullptr};
  const std::string path = cat("/proc/self/fd/", program.get());
  const int failed = ::posix_spawn(&pid_, path.c_str(), &plan.actions, &plan.attributes, argv, env);
  if (failed != 0) throw SystemError(failed, "start", "the launcher");
}

LauncherProcess::~LauncherProcess() {
  control_.reset();  // the launcher leaves at the end of its input, and its children die with it
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void LauncherProcess::send(std::span<const int> fds) {
  launch::LaunchMessage message;
  message.fd_count = static_cast<std::uint32_t>(fds.size());
  iovec part{&message, sizeof message};
  std::vector<char> control(CMSG_SPACE(fds.size_bytes()));
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(fds.size_bytes());
  std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  const std::lock_guard lock(mutex_);
  while (::sendmsg(control_.get(), &header, MSG_NOSIGNAL) < 0)
    if (errno != EINTR) throw SystemError(errno, "reach", "the launcher");
}

}  // namespace imgbuild::builder
