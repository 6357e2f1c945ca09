#pragma once

#include <atomic>
#include <stop_token>
#include <thread>

namespace imgbuild::cli {

/// Turns SIGINT, SIGTERM and SIGHUP into a stop request, except those that were ignored when the program
/// started (nohup, `&` in a script). Made before any other thread, so that all of them inherit the blocked
/// signals; one thread waits for them. The second signal ends the process at once.
class SignalWatcher {
 public:
  SignalWatcher();
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

  std::stop_token token() const noexcept { return stop_.get_token(); }
  /// The signal that asked for the stop; 0 when none did.
  int signal() const noexcept { return signal_; }

 private:
  std::stop_source stop_;
  std::atomic<int> signal_ = 0;
  int wake_fd_ = -1;
  std::jthread thread_;
};

}  // namespace imgbuild::cli
