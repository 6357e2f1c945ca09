#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>

namespace imgbuild::builder {

/// How much of a step's output is reported; 0: no limit (SBX-84).
struct OutputLimits {
  std::uint64_t max_bytes = 2ull << 20;
  std::uint64_t bytes_per_second = 200ull << 10;
};

/// Cuts the output of one step to what its limits allow, on both streams together, at line ends where it can.
/// The rate is a bucket of five seconds' worth, so a burst passes whole and only what keeps on flooding is
/// clipped; it goes on at the start of a line when a second's worth is free again. Each gap is marked by one
/// line. Holds no output. One thread.
class OutputLimit {
 public:
  using Clock = std::chrono::steady_clock;
  using Sink = std::function<void(int stream, std::string_view bytes)>;

  OutputLimit(const OutputLimits& limits, Clock::time_point now);
  /// Hands to `sink` what of `bytes` is shown, and the marker where something is left out.
  void write(int stream, std::string_view bytes, Clock::time_point now, const Sink& sink);

 private:
  void refill(Clock::time_point now);
  /// What is left of `bytes` after a gap, from the start of a line; empty while the gap goes on.
  std::string_view resume(std::string_view bytes);
  void show(int stream, std::string_view bytes, const Sink& sink);

  const OutputLimits limits_;
  std::uint64_t shown_ = 0;
  std::uint64_t tokens_;  ///< bytes that may be shown now
  Clock::time_point refilled_;
  bool in_gap_ = false;
  bool is_full_ = false;
  bool at_line_start_[2] = {true, true};
};

}  // namespace imgbuild::builder
