#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace imgbuild {

/// Workers that run tasks in the order they came. Tasks hand results and exceptions back through futures.
/// The destructor runs what is queued, then joins. A task must not wait for a task queued after it. A worker
/// is started when there is a task nobody is free for: who needs no help does not pay for threads.
class ThreadPool {
 public:
  /// As many threads are to work at once, the one that gives the tasks included. So there is a worker less,
  /// but at least one: with a worker for each processor beside a caller that works too, they get into each
  /// other's way (docs/performance.md).
  explicit ThreadPool(std::size_t threads) : size_(threads) {}
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::size_t size() const noexcept { return size_; }

  template <typename F>
  std::future<std::invoke_result_t<F>> submit(F task) {
    auto packaged = std::make_shared<std::packaged_task<std::invoke_result_t<F>()>>(std::move(task));
    auto result = packaged->get_future();
    enqueue([packaged] { (*packaged)(); });
    return result;
  }

 private:
  void enqueue(std::function<void()> task);
  void add_worker();
  void work();

  const std::size_t size_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::size_t idle_ = 0;
  std::deque<std::function<void()>> queue_;
  bool closing_ = false;
  std::vector<std::jthread> workers_;  // last: joined before the rest goes away
};

}  // namespace imgbuild
