// The keeper: parent of one command that has no process namespace of its own, where the kernel would end all
// of it together (SBX-87). Whatever the command starts ends up as a child of the keeper when its own parent
// is gone, so that nothing can get away by becoming a daemon. The keeper ends after the last of them, in the
// way the command did.
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "builder/launcher/request.h"

namespace imgbuild::launch {

namespace {

/// Sends `signal` to every child of this process but those in `spared`. Returns how many there were; -1 when
/// the system does not tell.
int signal_children(int signal, const pid_t* spared, int spared_count) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/task/%d/children", static_cast<int>(::getpid()));
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  int count = 0;
  pid_t pid = 0;
  char bytes[4096];
  for (ssize_t size; (size = ::read(file, bytes, sizeof bytes)) > 0;) {
    for (ssize_t i = 0; i < size; ++i) {
      if (bytes[i] >= '0' && bytes[i] <= '9') {
        pid = pid * 10 + (bytes[i] - '0');
        continue;
      }
      bool is_spared = pid <= 0;
      for (int s = 0; s < spared_count; ++s) is_spared |= spared[s] == pid;
      if (!is_spared && ::kill(pid, signal) == 0) ++count;
      pid = 0;
    }
  }
  ::close(file);
  return count;
}

struct End {
  int status = 0;
  bool known = false;
};

void note(End& end, pid_t command, pid_t ended, int status) {
  if (ended != command) return;
  end.status = status;
  end.known = true;
}

/// Reaps until the command ended, or somebody wants it to.
End wait_for_command(pid_t command, const sigset_t& wanted) {
  End end;
  while (!end.known) {
    int status = 0;
    const pid_t ended = ::waitpid(-1, &status, WNOHANG);
    if (ended > 0) {
      note(end, command, ended, status);
      continue;
    }
    if (ended < 0 && errno == ECHILD) break;
    if (::sigwaitinfo(&wanted, nullptr) == SIGTERM) break;
  }
  return end;
}

/// First all are stopped, so that none starts another one while it is killed.
void end_all(End& end, pid_t command) {
  ::kill(-command, SIGKILL);  // the command is the leader of its session and group
  for (int round = 0;; ++round) {
    const bool told = signal_children(SIGSTOP, nullptr, 0) >= 0;
    if (told)
      signal_children(SIGKILL, nullptr, 0);
    else
      ::kill(command, SIGKILL);
    int status = 0;
    const pid_t ended = ::waitpid(-1, &status, 0);
    if (ended < 0 && errno == ECHILD) return;
    if (ended > 0) note(end, command, ended, status);
    for (pid_t more; (more = ::waitpid(-1, &status, WNOHANG)) > 0;) note(end, command, more, status);
  }
}

[[noreturn]] void end_like(const End& end) {
  if (!end.known) ::_exit(128 + SIGKILL);
  if (!WIFSIGNALED(end.status)) ::_exit(WEXITSTATUS(end.status));
  const rlimit none{};
  ::setrlimit(RLIMIT_CORE, &none);
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  ::sigaction(WTERMSIG(end.status), &standard, nullptr);
  sigset_t no_signals;
  ::sigemptyset(&no_signals);
  ::sigprocmask(SIG_SETMASK, &no_signals, nullptr);
  ::kill(::getpid(), WTERMSIG(end.status));
  ::_exit(128 + WTERMSIG(end.status));
}

}  // namespace

void kill_strays(const pid_t* known, int count) {
  for (int round = 0; round < 1000 && signal_children(SIGKILL, known, count) > 0; ++round) {
    // What was killed is reaped by the main loop; its children come here next.
    int status = 0;
    bool reaped = false;
    siginfo_t info{};
    while (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) {
      bool is_known = false;
      for (int i = 0; i < count; ++i) is_known |= known[i] == info.si_pid;
      if (is_known) return;  // its turn comes in the main loop
      ::waitpid(info.si_pid, &status, 0);
      reaped = true;
      info.si_pid = 0;
    }
    if (!reaped) ::usleep(1000);
  }
}

void keep(const Launch& launch, const Alive& launcher) {
  if (launcher.held >= 0) ::close(launcher.held);
  ::prctl(PR_SET_NAME, "imgbuild-keep");
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigset_t wanted;
  ::sigemptyset(&wanted);
  ::sigaddset(&wanted, SIGCHLD);
  ::sigaddset(&wanted, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &wanted, nullptr);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  pollfd gone{launcher.watch, POLLIN, 0};
  if (::poll(&gone, 1, 0) != 0) ::_exit(kExitNotLauncher);
  Alive self{static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0))};
  int ends[2];
  if (self.watch < 0 && ::pipe2(ends, O_CLOEXEC) == 0) self = {ends[0], ends[1]};
  int pidfd = -1;
  const pid_t command = self.watch < 0 ? -1 : clone_child(launch, pidfd);
  if (command == 0) run_child(launch, self);  // which closes the control socket's number first
  ::close(kControlFd);
  send_started(launch.fds[fd_reply], command < 0 ? errno : 0, pidfd);
  if (command < 0) ::_exit(kExitNotLauncher);
  for (int i = 0; i < launch.fd_count; ++i) ::close(launch.fds[i]);
  End end = wait_for_command(command, wanted);
  end_all(end, command);
  end_like(end);
}

}  // namespace imgbuild::launch
