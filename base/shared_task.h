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
    if (pool != nullptr) (void)pool->submit([task] { task->run_if_unclaimed(); });
    return task;
  }

  /// Returns when the work is done; throws what it threw. Call it once.
  void join() {
    run_if_unclaimed();
    done_.acquire();
    if (error_) std::rethrow_exception(error_);
  }

 private:
  explicit SharedTask(std::function<void()> work) : work_(std::move(work)) {}

  void run_if_unclaimed() {
    if (claimed_.exchange(true)) return;
    try {
      work_();
    } catch (...) {
      error_ = std::current_exception();
    }
    work_ = nullptr;
    done_.release();
  }

  std::function<void()> work_;
  std::atomic<bool> claimed_{false};
  std::exception_ptr error_;
  std::binary_semaphore done_{0};
};

}  // namespace imgbuild
