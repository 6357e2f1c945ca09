#include "base/thread_pool.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/shared_task.h"

namespace imgbuild {
namespace {

/// How many of many tasks of a pool of `size` ran at once, at most.
int most_at_once(std::size_t size) {
  std::atomic<int> now{0};
  std::atomic<int> most{0};
  ThreadPool pool(size);
  std::vector<std::future<void>> tasks;
  for (int i = 0; i < 20; ++i) {
    tasks.push_back(pool.submit([&] {
      const int running = ++now;
      int seen = most;
      while (seen < running && !most.compare_exchange_weak(seen, running)) {
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      --now;
    }));
  }
  for (auto& task : tasks) task.get();
  return most;
}

TEST_CASE("a pool has a worker less than threads, since whoever waits for it works too, and at least one") {
  CHECK(most_at_once(1) == 1);
  CHECK(most_at_once(2) == 1);
  CHECK(most_at_once(4) <= 3);
}

TEST_CASE("a task's result and its exception come through its future") {
  ThreadPool pool(2);
  CHECK(pool.submit([] { return 7; }).get() == 7);
  CHECK_THROWS_AS(pool.submit([] { throw std::runtime_error("no"); }).get(), std::runtime_error);
}

TEST_CASE("a shared task is done once, by whoever comes first") {
  int runs = 0;
  const auto alone = SharedTask::start(nullptr, [&] { ++runs; });
  CHECK_FALSE(alone->finished());
  CHECK(alone->try_run());
  CHECK(alone->finished());
  CHECK_FALSE(alone->try_run());
  alone->join();
  CHECK(runs == 1);

  std::promise<void> go;
  std::atomic<int> shared_runs{0};
  ThreadPool pool(1);
  const auto busy = pool.submit([&go] { go.get_future().wait(); });
  const auto shared = SharedTask::start(&pool, [&] { ++shared_runs; });
  shared->join();  // the only worker is busy
  go.set_value();
  busy.wait();
  CHECK(shared_runs == 1);
}

TEST_CASE("what a shared task throws comes from join(), whoever ran it") {
  const auto task = SharedTask::start(nullptr, [] { throw std::runtime_error("no"); });
  CHECK(task->try_run());
  CHECK(task->finished());
  CHECK_THROWS_AS(task->join(), std::runtime_error);
}

}  // namespace
}  // namespace imgbuild
