#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/thread_pool.h"

namespace imgbuild::builder {

/// Work that grows while it is done (a tree walk), shared by the calling thread and whatever threads of a
/// pool are free. The caller never waits for a thread that has not begun, so it may itself be one of the
/// pool's.
template <typename Item>
class WorkCrew : public std::enable_shared_from_this<WorkCrew<Item>> {
 public:
  using Work = std::function<void(const Item& item, WorkCrew& crew)>;

  /// Returns when all items, including those added meanwhile, are done. After the first exception no item is
  /// begun any more, and it is rethrown here. `pool` may be null.
  static void run(ThreadPool* pool, std::vector<Item> items, Work work) {
    const auto crew = std::make_shared<WorkCrew>(std::move(items), std::move(work));
    if (pool != nullptr) crew->call(*pool, pool->size());
    crew->help();
    const std::lock_guard guard(crew->mutex_);
    if (crew->failure_) std::rethrow_exception(crew->failure_);
  }

  WorkCrew(std::vector<Item> items, Work work)
      : items_(std::make_move_iterator(items.begin()), std::make_move_iterator(items.end())),
        work_(std::move(work)) {}

  /// For `work` only.
  void add(Item item) {
    {
      const std::lock_guard guard(mutex_);
      items_.push_back(std::move(item));
      update_hunger();
    }
    changed_.notify_one();
  }

  /// For `work` only: brings in the threads of `pool` that run() was not given, because there turned out to
  /// be enough to do. The caller counts as one of its processors.
  void call_for_help(ThreadPool& pool) { call(pool, pool.size() - 1); }

  /// Whether somebody waits for an item and there is none. Cheap.
  bool hungry() const noexcept { return hungry_.load(std::memory_order_relaxed); }

 private:
  void call(ThreadPool& pool, std::size_t helpers) {
    for (std::size_t i = 0; i < helpers; ++i)
      pool.submit([crew = this->shared_from_this()] { crew->help(); });
  }

  void update_hunger() { hungry_.store(waiting_ > items_.size(), std::memory_order_relaxed); }

  void help() {
    while (std::optional<Item> item = take()) {
      std::exception_ptr failure;
      try {
        work_(*item, *this);
      } catch (...) {
        failure = std::current_exception();
      }
      done(failure);
    }
  }

  std::optional<Item> take() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    update_hunger();
    changed_.wait(lock, [this] { return !items_.empty() || active_ == 0; });
    --waiting_;
    if (items_.empty()) return std::nullopt;
    Item item = std::move(items_.front());
    items_.pop_front();
    update_hunger();
    ++active_;
    return item;
  }

  void done(const std::exception_ptr& failure) {
    const std::lock_guard guard(mutex_);
    --active_;
    if (failure) {
      if (!failure_) failure_ = failure;
      items_.clear();
    }
    if (active_ == 0 && items_.empty()) changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> items_;
  std::size_t active_ = 0;
  std::size_t waiting_ = 0;
  std::atomic<bool> hungry_{false};
  std::exception_ptr failure_;
  Work work_;
};

}  // namespace imgbuild::builder
