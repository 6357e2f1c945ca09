#include "base/thread_pool.h"

#include <algorithm>
#include <system_error>

namespace imgbuild {

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
    if (!closing_ && queue_.size() > idle_ && workers_.size() < std::max<std::size_t>(size_, 2) - 1)
      add_worker();
  }
  wake_.notify_one();
}

void ThreadPool::add_worker() {
  try {
    workers_.emplace_back([this] { work(); });
  } catch (const std::system_error&) {
    if (workers_.empty()) throw;  // nobody would ever run the task
  }
}

void ThreadPool::work() {
  for (;;) {
    std::function<void()> task;
    {
      std::unique_lock guard(mutex_);
      ++idle_;
      wake_.wait(guard, [this] { return closing_ || !queue_.empty(); });
      --idle_;
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task();
  }
}

}  // namespace imgbuild
