#pragma once

#include <chrono>
#include <optional>

namespace imgbuild::builder {

/// How long a command is given at each step of being stopped.
struct StopTimes {
  std::chrono::nanoseconds cancel_grace = std::chrono::milliseconds(500);  ///< after Ctrl-C
  std::chrono::nanoseconds timeout_grace = std::chrono::seconds(10);       ///< after its time was over
  std::chrono::nanoseconds kill_wait = std::chrono::seconds(10);           ///< after SIGKILL
};

/// Decides when a command is asked to end, when it is killed, and when waiting for it is given up (SBX-85).
/// Knows no process and no clock. One thread.
class StopSequence {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Action { none, terminate, kill, give_up };

  /// `deadline`: when the command's time is over.
  StopSequence(const StopTimes& times, std::optional<Clock::time_point> deadline)
      : times_(times), deadline_(deadline) {}

  /// What is to be done now. Each of terminate, kill and give_up is said once, in this order.
  Action next(Clock::time_point now, bool cancelled);
  /// The command cannot react to being asked: the next step is due at once.
  void skip_grace() noexcept { due_ = Clock::time_point::min(); }
  /// Somebody has sent SIGKILL already.
  void note_kill(Clock::time_point now);
  /// When next() may say something new without a cancellation.
  std::optional<Clock::time_point> wakes_at() const;
  /// Whether it was the deadline that ended the command.
  bool timed_out() const noexcept { return timed_out_; }
  /// Whether SIGKILL is already due or done, so that a cancellation changes nothing any more.
  bool killing() const noexcept { return phase_ == Phase::killed || phase_ == Phase::lost; }

 private:
  enum class Phase { running, terminating, killed, lost };

  const StopTimes times_;
  const std::optional<Clock::time_point> deadline_;
  Phase phase_ = Phase::running;
  Clock::time_point due_;  ///< of the phase after this one
  bool timed_out_ = false;
  bool cancelled_ = false;
};

}  // namespace imgbuild::builder
