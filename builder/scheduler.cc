#include "builder/scheduler.h"

#include <algorithm>
#include <cassert>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"

namespace imgbuild::builder {

namespace {

/// What the workers share, under one lock. No lock is held while a task runs.
class TaskRun {
 public:
  TaskRun(const std::vector<Task>& tasks, std::size_t jobs, std::stop_token outer)
      : tasks_(tasks),
        jobs_(jobs),
        missing_(tasks.size()),
        followers_(tasks.size()),
        early_followers_(tasks.size()),
        on_outer_stop_(outer, Halt{this}) {
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      missing_[i] = tasks[i].waits_for.size() + tasks[i].waits_for_release.size();
      for (const std::size_t needed : tasks[i].waits_for) followers_.at(needed).push_back(i);
      for (const std::size_t needed : tasks[i].waits_for_release) early_followers_.at(needed).push_back(i);
      if (missing_[i] == 0) ready_.insert(i);
    }
  }

  void work() {
    std::unique_lock guard(mutex_);
    for (;;) {
      ++waiting_;
      wake_.wait(guard, [this] { return halted_ || finished_ == tasks_.size() || !ready_.empty(); });
      --waiting_;
      if (halted_ || finished_ == tasks_.size()) return;
      const std::size_t task = *ready_.begin();
      ready_.erase(ready_.begin());
      add_worker();
      guard.unlock();
      std::exception_ptr failure;
      try {
        tasks_[task].run(stop_.get_token(), [this, task] { release(task); });
      } catch (...) {
        failure = std::current_exception();
      }
      guard.lock();
      if (failure)
        keep(failure);
      else
        finish(task);
      wake_.notify_all();
    }
  }

  /// Waits for the workers that were added. Only after work() has returned: nobody adds any more then.
  void join() { workers_.clear(); }

  void rethrow() {
    const std::lock_guard guard(mutex_);
    if (failure_) std::rethrow_exception(failure_);
    if (finished_ != tasks_.size()) throw Cancelled();
  }

 private:
  /// One more thread when a task is ready that nobody is free for: a chain of tasks needs no thread but the
  /// caller's.
  void add_worker() {
    if (ready_.size() <= waiting_ || workers_.size() + 1 >= jobs_) return;
    try {
      workers_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      // No more threads to be had: those there are go on.
    }
  }

  struct Halt {
    TaskRun* run;
    void operator()() const { run->halt(); }
  };

  void halt() {
    {
      const std::lock_guard guard(mutex_);
      halted_ = true;
    }
    stop_.request_stop();
    wake_.notify_all();
  }

  void release(std::size_t task) {
    const std::lock_guard guard(mutex_);
    if (halted_) return;
    let_go(early_followers_[task]);
    add_worker();
    wake_.notify_all();
  }

  void finish(std::size_t task) {
    ++finished_;
    let_go(early_followers_[task]);
    let_go(followers_[task]);
  }

  void let_go(std::vector<std::size_t>& followers) {
    for (const std::size_t follower : std::exchange(followers, {})) {
      if (--missing_[follower] == 0) ready_.insert(follower);
    }
  }

  /// The first failure counts; one that only says "cancelled" gives way to the reason for it.
  void keep(const std::exception_ptr& failure) {
    const bool cancelled = is_cancelled(failure);
    if (!failure_ || (failure_is_cancelled_ && !cancelled)) {
      failure_ = failure;
      failure_is_cancelled_ = cancelled;
    }
    halted_ = true;
    stop_.request_stop();
  }

  static bool is_cancelled(const std::exception_ptr& failure) {
    try {
      std::rethrow_exception(failure);
    } catch (const Cancelled&) {
      return true;
    } catch (...) {  // any other failure: only its kind is asked here, it is rethrown to the caller later
      return false;
    }
  }

  const std::vector<Task>& tasks_;
  const std::size_t jobs_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::stop_source stop_;
  std::vector<std::size_t> missing_;
  std::vector<std::vector<std::size_t>> followers_;        ///< by the task they wait for, until it ended
  std::vector<std::vector<std::size_t>> early_followers_;  ///< until it was released
  std::set<std::size_t> ready_;
  std::size_t finished_ = 0;
  std::size_t waiting_ = 0;
  bool halted_ = false;
  bool failure_is_cancelled_ = false;
  std::exception_ptr failure_;
  std::vector<std::jthread> workers_;
  std::stop_callback<Halt> on_outer_stop_;  // last: may fire while the rest is complete
};

}  // namespace

void run_tasks(const std::vector<Task>& tasks, std::size_t jobs, std::stop_token stop) {
  if (tasks.empty()) return;
  TaskRun run(tasks, std::max<std::size_t>(jobs, 1), stop);
  run.work();
  run.join();
  run.rethrow();
}

}  // namespace imgbuild::builder
