#include "cli/signals.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"

namespace imgbuild::cli {

namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    // A blocked signal is delivered to us even when it is to be ignored.
    struct sigaction current {};
    const bool ignored = ::sigaction(signal, nullptr, &current) == 0 && current.sa_handler == SIG_IGN;
    if (!ignored) sigaddset(&set, signal);
  }
  return set;
}

}  // namespace

SignalWatcher::SignalWatcher() {
  ::signal(SIGPIPE, SIG_IGN);
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  wake_fd_ = ::eventfd(0, EFD_CLOEXEC);
  const int signals = ::signalfd(-1, &set, SFD_CLOEXEC);
  if (signals < 0 || wake_fd_ < 0) throw SystemError(errno, "watch signals");
  thread_ = std::jthread([this, signals] {
    for (;;) {
      pollfd waits[2] = {{signals, POLLIN, 0}, {wake_fd_, POLLIN, 0}};
      if (::poll(waits, 2, -1) < 0 && errno != EINTR) break;
      if ((waits[1].revents & POLLIN) != 0) break;
      if ((waits[0].revents & POLLIN) == 0) continue;
      signalfd_siginfo info{};
      if (::read(signals, &info, sizeof info) != sizeof info) continue;
      // The second request does not wait for anybody: whoever was started dies with this process.
      if (signal_ != 0) ::_exit(128 + static_cast<int>(info.ssi_signo));
      signal_ = static_cast<int>(info.ssi_signo);
      stop_.request_stop();
    }
    ::close(signals);
  });
}

SignalWatcher::~SignalWatcher() {
  const std::uint64_t one = 1;
  (void)!::write(wake_fd_, &one, sizeof one);
  thread_.join();
  ::close(wake_fd_);
}

}  // namespace imgbuild::cli
