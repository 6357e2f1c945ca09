#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace imgbuild::builder {

/// Where the time of all steps together goes, for `--stats`. Parts of steps that run at once overlap, so
/// their sum may be more than the build took. Thread-safe.
class PartTimes {
 public:
  enum class Part : std::size_t {
    select,   ///< list and choose the sources of copies
    key,      ///< digests and cache keys
    prepare,  ///< lower layers and directories for a command
    command,  ///< in the sandbox
    diff,     ///< find what a command changed
    plan,     ///< decide what a copy changes
    layer,    ///< read, tar, hash, compress and store a layer
    publish,  ///< index, snapshot and record of a layer
    count,
  };

  void add(Part part, std::chrono::nanoseconds took) noexcept {
    nanoseconds_[static_cast<std::size_t>(part)] += took.count();
  }
  /// The parts that took any time, named.
  std::vector<std::pair<std::string, std::chrono::nanoseconds>> named() const;

 private:
  std::array<std::atomic<std::int64_t>, static_cast<std::size_t>(Part::count)> nanoseconds_{};
};

/// Adds the time of its life to a part.
class PartTimer {
 public:
  PartTimer(PartTimes& times, PartTimes::Part part) noexcept : times_(times), part_(part) {}
  ~PartTimer() { times_.add(part_, std::chrono::steady_clock::now() - begin_); }
  PartTimer(const PartTimer&) = delete;
  PartTimer& operator=(const PartTimer&) = delete;

 private:
  PartTimes& times_;
  PartTimes::Part part_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

/// `work()`, timed.
template <typename Work>
auto timed(PartTimes& times, PartTimes::Part part, const Work& work) {
  const PartTimer timer(times, part);
  return work();
}

}  // namespace imgbuild::builder
