#include "base/thread_pool.h"

#include <system_error>

namespace imgbuild {

ThreadPool::ThreadPool(std::size_t threads) {
  workers_.reserve(threads);
  for (std::size_t i = 0; i < threads; ++i) {
    try {
      workers_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {  // no more processes for this user: fewer do the same
      if (workers_.empty()) throw;
      break;
    }
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard guard(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
}

void ThreadPool::enqueue(std::function<void()> task) {
  {
    const std::lock_guard guard(mutex_);
    queue_.push_back(std::move(task));
  }
  wake_.notify_one();
}

void ThreadPool::work() {
  for (;;) {
    std::function<void()> task;
    {
      std::unique_lock guard(mutex_);
      wake_.wait(guard, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task();
  }
}

}  // namespace imgbuild
