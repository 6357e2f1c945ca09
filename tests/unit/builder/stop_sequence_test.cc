#include "builder/stop_sequence.h"

#include <doctest/doctest.h>

using namespace imgbuild::builder;
using namespace std::chrono_literals;
using Action = StopSequence::Action;

namespace {

constexpr StopTimes kTimes{.cancel_grace = 500ms, .timeout_grace = 10s, .kill_wait = 10s};
const StopSequence::Clock::time_point kStart{};

}  // namespace

TEST_CASE("a command that is neither cancelled nor late is left alone") {
  StopSequence sequence(kTimes, std::nullopt);
  CHECK(sequence.next(kStart + 1000h, false) == Action::none);
  CHECK_FALSE(sequence.wakes_at());
  StopSequence timed(kTimes, kStart + 60s);
  CHECK(timed.next(kStart + 59s, false) == Action::none);
  CHECK(timed.wakes_at() == kStart + 60s);
}

TEST_CASE("a cancelled command is asked, killed after half a second, given up after ten (SBX-85)") {
  StopSequence sequence(kTimes, std::nullopt);
  CHECK(sequence.next(kStart, true) == Action::terminate);
  CHECK(sequence.next(kStart + 499ms, true) == Action::none);
  CHECK(sequence.wakes_at() == kStart + 500ms);
  CHECK(sequence.next(kStart + 500ms, true) == Action::kill);
  CHECK(sequence.next(kStart + 10s, true) == Action::none);
  CHECK(sequence.next(kStart + 10500ms, true) == Action::give_up);
  CHECK(sequence.next(kStart + 1h, true) == Action::none);
  CHECK_FALSE(sequence.wakes_at());
  CHECK_FALSE(sequence.timed_out());
}

TEST_CASE("a late command has ten seconds to end, less when the user cancels meanwhile (SBX-85)") {
  StopSequence sequence(kTimes, kStart + 60s);
  CHECK(sequence.next(kStart + 60s, false) == Action::terminate);
  CHECK(sequence.timed_out());
  CHECK(sequence.next(kStart + 69s, false) == Action::none);
  SUBCASE("left alone") { CHECK(sequence.next(kStart + 70s, false) == Action::kill); }
  SUBCASE("cancelled") {
    CHECK(sequence.next(kStart + 61s, true) == Action::none);
    CHECK(sequence.wakes_at() == kStart + 61500ms);
    CHECK(sequence.next(kStart + 61500ms, true) == Action::kill);
  }
  CHECK(sequence.timed_out());
}

TEST_CASE("a command that cannot notice is killed at once") {
  StopSequence sequence(kTimes, std::nullopt);
  CHECK(sequence.next(kStart, true) == Action::terminate);
  sequence.skip_grace();
  CHECK(sequence.next(kStart, true) == Action::kill);
}

TEST_CASE("a command that was killed by others is waited for no longer than after our own kill") {
  StopSequence sequence(kTimes, kStart + 60s);
  sequence.note_kill(kStart + 1s);
  CHECK(sequence.killing());
  CHECK(sequence.next(kStart + 2s, true) == Action::none);
  CHECK(sequence.wakes_at() == kStart + 11s);
  CHECK(sequence.next(kStart + 11s, false) == Action::give_up);
  CHECK_FALSE(sequence.timed_out());
}
