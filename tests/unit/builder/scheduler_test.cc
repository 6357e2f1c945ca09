#include "builder/scheduler.h"

#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/error.h"

using namespace imgbuild;
using builder::Release;
using builder::run_tasks;
using builder::Task;

TEST_CASE("a task runs after everything it waits for") {
  std::mutex mutex;
  std::vector<int> order;
  const auto note = [&](int number) {
    return [&, number](std::stop_token, const Release&) {
      const std::lock_guard guard(mutex);
      order.push_back(number);
    };
  };
  run_tasks({{{}, note(0)}, {{0}, note(1)}, {{0}, note(2)}, {{1, 2}, note(3)}}, 4, {});
  REQUIRE(order.size() == 4);
  CHECK(order.front() == 0);
  CHECK(order.back() == 3);
}

TEST_CASE("a chain of tasks needs no thread but the caller's") {
  const auto caller = std::this_thread::get_id();
  int ran = 0;
  const auto here = [&](std::stop_token, const Release&) {
    CHECK(std::this_thread::get_id() == caller);
    ++ran;
  };
  run_tasks({{{}, here}, {{0}, here}, {{1}, here}}, 8, {});
  CHECK(ran == 3);
}

TEST_CASE("independent tasks run at the same time") {
  std::mutex mutex;
  std::condition_variable both;
  int inside = 0;
  const auto meet = [&](std::stop_token, const Release&) {
    std::unique_lock guard(mutex);
    ++inside;
    both.notify_all();
    both.wait(guard,
              [&] { return inside == 2; });  // hangs, and the test with it, if they ran one after the other
  };
  run_tasks({{{}, meet}, {{}, meet}}, 2, {});
  CHECK(inside == 2);
}

TEST_CASE("a failure stops what runs, starts nothing new and is what the caller sees") {
  std::atomic<bool> follower_ran = false;
  std::atomic<bool> other_was_asked = false;
  std::atomic<bool> other_started = false;
  const auto fail = [&](std::stop_token, const Release&) {
    while (!other_started) std::this_thread::yield();
    throw Error("broken");
  };
  const auto wait_for_stop = [&](std::stop_token stop, const Release&) {
    other_started = true;
    while (!stop.stop_requested()) std::this_thread::yield();
    other_was_asked = true;
    throw Cancelled();
  };
  const auto follow = [&](std::stop_token, const Release&) { follower_ran = true; };
  CHECK_THROWS_WITH_AS(run_tasks({{{}, fail}, {{}, wait_for_stop}, {{0}, follow}}, 2, {}), "broken", Error);
  CHECK(other_was_asked);
  CHECK_FALSE(follower_ran);
}

TEST_CASE("a stop from outside ends in Cancelled") {
  std::stop_source source;
  const auto stop_all = [&](std::stop_token stop, const Release&) {
    source.request_stop();
    CHECK(stop.stop_requested());
  };
  std::atomic<bool> second_ran = false;
  CHECK_THROWS_AS(
      run_tasks({{{}, stop_all}, {{0}, [&](std::stop_token, const Release&) { second_ran = true; }}}, 1,
                source.get_token()),
      Cancelled);
  CHECK_FALSE(second_ran);
}

TEST_CASE("a release lets go of those that wait for it, and of nobody else") {
  std::mutex mutex;
  std::condition_variable changed;
  bool early_ran = false;
  std::vector<int> order;
  const auto first = [&](std::stop_token, const Release& release) {
    release();
    std::unique_lock guard(mutex);
    changed.wait(guard, [&] { return early_ran; });  // hangs when a release lets nobody go
    order.push_back(0);
  };
  const auto early = [&](std::stop_token, const Release&) {
    {
      const std::lock_guard guard(mutex);
      early_ran = true;
      order.push_back(1);
    }
    changed.notify_all();
  };
  const auto late = [&](std::stop_token, const Release&) {
    const std::lock_guard guard(mutex);
    order.push_back(2);
  };
  run_tasks({{{}, first}, {{}, early, {0}}, {{0}, late}}, 2, {});
  CHECK(order == std::vector<int>{1, 0, 2});
}

TEST_CASE("the end of a task releases it, and one job does one task after the other") {
  std::vector<int> order;
  const auto note = [&](int number, bool releases) {
    return [&, number, releases](std::stop_token, const Release& release) {
      if (releases) release();
      order.push_back(number);
    };
  };
  run_tasks({{{}, note(0, false)}, {{}, note(1, true), {0}}, {{0}, note(2, true), {1}}}, 1, {});
  CHECK(order == std::vector<int>{0, 1, 2});
}

TEST_CASE("after a failure a release starts nothing") {
  std::atomic<bool> failed = false;
  std::atomic<bool> follower_ran = false;
  const auto fail = [&](std::stop_token, const Release&) {
    failed = true;
    throw Error("broken");
  };
  const auto release_late = [&](std::stop_token stop, const Release& release) {
    while (!failed || !stop.stop_requested()) std::this_thread::yield();
    release();
  };
  const auto follow = [&](std::stop_token, const Release&) { follower_ran = true; };
  CHECK_THROWS_WITH_AS(run_tasks({{{}, fail}, {{}, release_late}, {{}, follow, {1}}}, 3, {}), "broken",
                       Error);
  CHECK_FALSE(follower_ran);
}
