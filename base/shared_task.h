#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <semaphore>

#include "base/thread_pool.h"

namespace imgbuild {

/// Work given to a pool that whoever waits for it does himself when no worker has begun it. So a task of the
/// pool may wait for it: no pool can be so busy that nobody makes progress. `work` must own what it touches,
/// since it may run after everybody lost interest.
class SharedTask {
 public:
  /// Without a pool the work is done by join().
  static std::shared_ptr<SharedTask> start(ThreadPool* pool, std::function<void()> work) {
    auto task = std::shared_ptr<SharedTask>(new SharedTask(std::move(work)));
    if (pool != nullptr) (void)pool->submit([task] { task->try_run(); });
    return task;
  }

  /// Does the work unless somebody has begun it; says whether it did. Errors come from join().
  bool try_run() {
    if (claimed_.exchange(true)) return false;
    try {
      work_();
    } catch (...) {
      error_ = std::current_exception();
    }
    work_ = nullptr;
    finished_ = true;
    done_.release();
    return true;
  }

  bool finished() const noexcept { return finished_; }

  /// Returns when the work is done; throws what it threw. Call it once.
  void join() {
    try_run();
    done_.acquire();
    if (error_) std::rethrow_exception(error_);
  }

 private:
  explicit SharedTask(std::function<void()> work) : work_(std::move(work)) {}

  std::function<void()> work_;
  std::atomic<bool> claimed_{false};
  std::atomic<bool> finished_{false};
  std::exception_ptr error_;
  std::binary_semaphore done_{0};
};

}  // namespace imgbuild
