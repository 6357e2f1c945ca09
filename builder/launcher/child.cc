#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "builder/launcher/request.h"

namespace imgbuild::launch {

void give_up(const Launch& launch, Stage stage, const char* path) {
  Failure failure;
  failure.error_number = errno;
  failure.stage = stage;
  std::strncpy(failure.path, path, sizeof failure.path - 1);
  const ssize_t written = ::write(launch.fds[fd_report], &failure, sizeof failure);
  ::_exit(written == static_cast<ssize_t>(sizeof failure) ? kExitNotLauncher : kExitNotLauncher + 1);
}

namespace {

/// Makes the directories of `path` that are missing, owned by the user of the command (SBX-74).
void create_working_dir(const Launch& launch, const char* path) {
  char prefix[4096];
  const std::size_t length = std::strlen(path);
  if (length >= sizeof prefix) {
    errno = ENAMETOOLONG;
    give_up(launch, Stage::working_dir, path);
  }
  for (std::size_t end = 1; end <= length; ++end) {
    if (path[end] != '/' && path[end] != '\0') continue;
    std::memcpy(prefix, path, end);
    prefix[end] = '\0';
    if (::mkdir(prefix, 0755) == 0) {
      if (::lchown(prefix, launch.request->uid, launch.request->gid) != 0)
        give_up(launch, Stage::working_dir, prefix);
    } else if (errno != EEXIST) {
      give_up(launch, Stage::working_dir, prefix);
    }
  }
}

/// /proc/self/fd/8 was a way out once (CVE-2024-21626).
int open_working_dir(const char* path) { return open_no_magic(path, O_PATH | O_DIRECTORY); }

void enter_working_dir(const Launch& launch, int directory) {
  const char* path = launch.string(launch.request->working_dir);
  if (::fchdir(directory) != 0) give_up(launch, Stage::working_dir, path);
  char where[4096];
  // The raw call says "(unreachable)" in front of what lies outside the root.
  if (::syscall(SYS_getcwd, where, sizeof where) < 0 || where[0] != '/') {
    errno = EXDEV;
    give_up(launch, Stage::working_dir_outside, path);
  }
}

void reset_signals() {
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &standard, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void die_with_launcher(const Launch& launch, const Alive& launcher) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  pollfd gone{launcher.watch, POLLIN, 0};
  if (::poll(&gone, 1, 0) != 0) give_up(launch, Stage::launcher_gone, "");
}

/// Before the mounts: sysfs shows the network namespace it is mounted from.
void join_network(const Launch& launch) {
  const std::uint32_t index = launch.request->network;
  if (index == kNone) return;
  if (::setns(launch.fds[index], CLONE_NEWNET) != 0) give_up(launch, Stage::join_network, "");
}

void connect_output(const Launch& launch) {
  const int from[] = {launch.fds[fd_stdin], launch.fds[fd_stdout], launch.fds[fd_stderr]};
  for (int i = 0; i < 3; ++i)
    if (::dup2(from[i], i) < 0) give_up(launch, Stage::receive, "standard streams");
}

/// Everything was opened to be closed; this makes sure (SBX-75).
void close_on_exec() {
  if (::syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) == 0) return;
  constexpr int kMost = 4096;  // the launcher holds one for each child, and what came with this launch
  for (int fd = 3; fd < kMost; ++fd) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/// The candidates stand in the order of PATH. One that exists but cannot be run says more than one that is
/// missing.
[[noreturn]] void execute(const Launch& launch) {
  const LaunchRequest& request = *launch.request;
  static char* argv[65536];
  static char* env[65536];
  const auto fill = [&](char** out, const Range& range) {
    if (range.count >= 65536) {
      errno = E2BIG;
      give_up(launch, Stage::execute, "");
    }
    const auto* offsets = launch.array<std::uint32_t>(range);
    for (std::uint32_t i = 0; i < range.count; ++i) out[i] = const_cast<char*>(launch.string(offsets[i]));
    out[range.count] = nullptr;
  };
  fill(argv, request.argv);
  fill(env, request.env);
  const auto* programs = launch.array<std::uint32_t>(request.programs);
  int kept = ENOENT;
  const char* kept_path = argv[0];
  for (std::uint32_t i = 0; i < request.programs.count; ++i) {
    const char* program = launch.string(programs[i]);
    ::execve(program, argv, env);
    if (errno == ENOENT || errno == ENOTDIR) {
      // A file that is there and cannot be found has an interpreter or loader that is missing.
      struct stat info {};
      if (::stat(program, &info) != 0 || kept != ENOENT) continue;
      kept_path = program;
      continue;
    }
    kept = errno;
    kept_path = program;
    if (kept != EACCES) break;
  }
  errno = kept;
  give_up(launch, Stage::execute, kept_path);
}

}  // namespace

void run_child(const Launch& launch, const Alive& launcher) {
  ::close(kControlFd);
  if (launcher.held >= 0) ::close(launcher.held);
  die_with_launcher(launch, launcher);
  connect_output(launch);
  join_cgroups(launch);  // first: what follows counts already
  join_network(launch);
  if (launch.request->chroot_only != 0)
    enter_chroot(launch);
  else
    enter_root(launch);
  set_up_session(launch);
  const char* working_dir = launch.string(launch.request->working_dir);
  int directory = open_working_dir(working_dir);
  if (directory < 0 && errno == ENOENT) {
    create_working_dir(launch, working_dir);
    directory = open_working_dir(working_dir);
  }
  if (directory < 0)
    give_up(launch, errno == ELOOP ? Stage::working_dir_outside : Stage::working_dir, working_dir);
  reset_signals();
  set_ulimits(launch);  // late: what comes before opens more files than the command may
  set_processors(launch);
  set_label(launch);  // before the filter and the loss of rights, which may forbid it
  load_filter(launch);
  become_user(launch);
  die_with_launcher(launch, launcher);  // changing ids cleared it
  enter_working_dir(launch, directory);
  close_on_exec();
  execute(launch);
}

}  // namespace imgbuild::launch
