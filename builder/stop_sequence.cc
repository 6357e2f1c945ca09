#include "builder/stop_sequence.h"

#include <algorithm>

namespace imgbuild::builder {

StopSequence::Action StopSequence::next(Clock::time_point now, bool cancelled) {
  switch (phase_) {
    case Phase::running:
      if (cancelled) {
        cancelled_ = true;
        due_ = now + times_.cancel_grace;
      } else if (deadline_ && now >= *deadline_) {
        timed_out_ = true;
        due_ = now + times_.timeout_grace;
      } else {
        return Action::none;
      }
      phase_ = Phase::terminating;
      return Action::terminate;
    case Phase::terminating:
      if (cancelled && !cancelled_) {  // who presses Ctrl-C does not want to wait for the longer grace
        cancelled_ = true;
        due_ = std::min(due_, now + times_.cancel_grace);
      }
      if (now < due_) return Action::none;
      phase_ = Phase::killed;
      due_ = now + times_.kill_wait;
      return Action::kill;
    case Phase::killed:
      if (now < due_) return Action::none;
      phase_ = Phase::lost;
      return Action::give_up;
    case Phase::lost:
      break;
  }
  return Action::none;
}

void StopSequence::note_kill(Clock::time_point now) {
  if (killing()) return;
  phase_ = Phase::killed;
  due_ = now + times_.kill_wait;
}

std::optional<StopSequence::Clock::time_point> StopSequence::wakes_at() const {
  switch (phase_) {
    case Phase::running:
      return deadline_;
    case Phase::terminating:
    case Phase::killed:
      return due_;
    case Phase::lost:
      break;
  }
  return std::nullopt;
}

}  // namespace imgbuild::builder
