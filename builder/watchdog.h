#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "builder/process_tree.h"

namespace imgbuild::builder {

/// What the processes of a command may use together where no control group counts them.
struct WatchOrder {
  std::optional<std::uint64_t> memory_bytes;
  std::optional<std::uint64_t> processes;  ///< and threads
  std::vector<int> memory_file_systems;    ///< tmpfs only this command uses; borrowed
  bool has_keeper =
      false;  ///< the command's parent is its keeper, and nothing but it is seen of what it started

  bool any() const noexcept { return memory_bytes || processes; }
};

/// What was seen of a command.
struct WatchReport {
  enum class Limit { none, memory, processes } reached = Limit::none;
  std::uint64_t peak_bytes = 0;
  std::uint64_t peak_processes = 0;
  std::string holder;  ///< who had most of it: "process 17 (cc1plus)", "sh"
  std::uint64_t holder_bytes = 0;
};

/// Looks at the processes of one command every few milliseconds and ends all of them when they use more than
/// they may (docs/adr/0014-limits-without-control-groups.md). A substitute: what happens between two looks is
/// not seen.
///
/// Memory is the anonymous pages of every process, shared memory, and the tmpfs that belong to the command;
/// pages of files on disk, of pipes, sockets and page tables are not known, nor what was swapped out. A look
/// adds up resident pages; only when these are too many the exact count is made, and that alone decides:
/// pages that processes share after fork() count once.
class Watchdog {
 public:
  /// Makes the thread, so that it is there before the command is. Throws SystemError.
  explicit Watchdog(const WatchOrder& order);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// From now on the command is looked at. `process`: its pidfd, borrowed until finish(). `end_all` is called
  /// from another thread, once, when a limit is exceeded. Call once.
  void begin(ProcessTree tree, int process, std::function<void()> end_all);
  const WatchOrder& order() const noexcept { return order_; }
  /// One more tmpfs that belongs to the command. Thread-safe.
  void add_memory(UniqueFd file_system);
  /// Whether all was ended, or could not be watched any more. Thread-safe.
  bool has_fired() const noexcept { return fired_; }
  void stop() noexcept;
  /// Stops looking, and tells. Throws SystemError when looking failed: all was ended then.
  WatchReport finish();

 private:
  void watch(std::stop_token stop);
  bool look();
  bool has_ended() const;
  bool check_memory(const std::vector<ProcessUse>& processes);
  bool check_processes(const std::vector<ProcessUse>& processes, std::uint64_t tasks);
  std::uint64_t memory_files() const;

  const WatchOrder order_;
  std::optional<ProcessTree> tree_;  ///< nothing before begin(), and unchanged afterwards, as the next two
  int process_ = -1;
  std::function<void()> end_all_;
  WatchReport report_;
  std::uint64_t free_bytes_ = 0, free_processes_ = 0;  ///< below the limits, at the last look
  std::exception_ptr failure_;
  std::atomic<bool> fired_ = false;
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::vector<UniqueFd> added_;
  std::jthread thread_;  ///< last: uses all the others
};

/// How long nothing has to be looked at: as long as it takes at least to use up what is left, at the speed of
/// a fast machine, and so long that looking takes no more than a hundredth of a processor.
std::chrono::nanoseconds next_look(std::uint64_t free_bytes, std::uint64_t free_processes,
                                   std::chrono::nanoseconds cost);

/// For the error: which limit was exceeded, by whom, and that it was watched. Empty when none was.
std::string describe_watched(const WatchReport& report, const WatchOrder& order);

}  // namespace imgbuild::builder
