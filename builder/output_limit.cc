#include "builder/output_limit.h"

#include <algorithm>

#include "base/strings.h"

namespace imgbuild::builder {

namespace {

constexpr std::uint64_t kBurstSeconds = 5;

std::uint64_t burst(const OutputLimits& limits) {
  const std::uint64_t most = ~std::uint64_t{0} / kBurstSeconds;
  return kBurstSeconds * std::min(limits.bytes_per_second, most);
}

/// Up to the last whole line that fits into `room`, or to the byte when there is none.
std::string_view whole_lines(std::string_view bytes, std::uint64_t room) {
  const auto fitting = bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), room)));
  const auto end = fitting.rfind('\n');
  return end == std::string_view::npos ? fitting : fitting.substr(0, end + 1);
}

}  // namespace

OutputLimit::OutputLimit(const OutputLimits& limits, Clock::time_point now)
    : limits_(limits), tokens_(burst(limits)), refilled_(now) {}

void OutputLimit::refill(Clock::time_point now) {
  if (now <= refilled_) return;
  const std::chrono::duration<double> passed = now - refilled_;
  const double gained = passed.count() * static_cast<double>(limits_.bytes_per_second);
  if (gained < 1) return;  // or a stream of single bytes would never gain anything
  const std::uint64_t most = burst(limits_);
  tokens_ = gained >= static_cast<double>(most - std::min(tokens_, most))
                ? most
                : tokens_ + static_cast<std::uint64_t>(gained);
  refilled_ = now;
}

std::string_view OutputLimit::resume(std::string_view bytes) {
  if (tokens_ < limits_.bytes_per_second) return {};
  const auto end = bytes.find('\n');
  if (end == std::string_view::npos) return {};
  in_gap_ = false;
  return bytes.substr(end + 1);
}

void OutputLimit::show(int stream, std::string_view bytes, const Sink& sink) {
  if (bytes.empty()) return;
  shown_ += bytes.size();
  at_line_start_[stream == 2 ? 1 : 0] = bytes.back() == '\n';
  sink(stream, bytes);
}

void OutputLimit::write(int stream, std::string_view bytes, Clock::time_point now, const Sink& sink) {
  if (is_full_) return;
  const bool is_rated = limits_.bytes_per_second != 0;
  if (is_rated) refill(now);
  if (in_gap_) bytes = resume(bytes);
  if (bytes.empty()) return;

  std::uint64_t room = bytes.size();
  if (is_rated) room = std::min(room, tokens_);
  const std::uint64_t left = limits_.max_bytes == 0 ? room : limits_.max_bytes - shown_;
  const bool fills = left < room || (limits_.max_bytes != 0 && left == 0);
  room = std::min(room, left);
  if (room == bytes.size()) {
    if (is_rated) tokens_ -= room;
    return show(stream, bytes, sink);
  }
  const auto fitting = whole_lines(bytes, room);
  if (is_rated) tokens_ -= fitting.size();
  show(stream, fitting, sink);
  (fills ? is_full_ : in_gap_) = true;
  const std::string limit =
      fills ? human_size(limits_.max_bytes) : cat(human_size(limits_.bytes_per_second), "/s");
  sink(stream, cat(at_line_start_[stream == 2 ? 1 : 0] ? "" : "\n", "[output clipped, log limit ", limit,
                   " reached]\n"));
  at_line_start_[stream == 2 ? 1 : 0] = true;
}

}  // namespace imgbuild::builder
