#include "cli/limit_options.h"

#include <CLI/CLI.hpp>
#include <charconv>

#include "base/error.h"
#include "base/strings.h"
#include "builder/build.h"
#include "cli/options.h"
#include "cli/usage.h"

namespace imgbuild::cli {

namespace {

using builder::ResourceLimits;

constexpr std::uint64_t kLeastMemory = 6ull << 20;  // docker's: with less hardly a program starts
constexpr std::int64_t kMostShares = 262144;

/// A fraction without sign or exponent: "1.5", ".5", "2".
std::optional<double> parse_fraction(std::string_view text) {
  if (text.empty() || text.find_first_not_of("0123456789.") != std::string_view::npos) return std::nullopt;
  double number = 0;
  const auto end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  return result.ec == std::errc() && result.ptr == end ? std::optional(number) : std::nullopt;
}

std::optional<double> unit_in_seconds(std::string_view unit) {
  if (unit == "ns") return 1e-9;
  if (unit == "us" || unit == "µs") return 1e-6;
  if (unit == "ms") return 1e-3;
  if (unit == "s") return 1;
  if (unit == "m") return 60;
  if (unit == "h") return 3600;
  return std::nullopt;
}

void apply_memory(const LimitOptions& options, ResourceLimits& limits) {
  if (!options.memory.empty()) {
    limits.memory_bytes = parse_size(options.memory, "--memory");
    if (*limits.memory_bytes < kLeastMemory)
      throw usage(cat("--memory must be at least 6m, not \"", printable(options.memory), "\""));
  }
  if (options.memory_swap.empty()) return;
  if (!limits.memory_bytes)
    throw usage("--memory-swap needs --memory: it is the limit of memory and swap together");
  limits.memory_swap_bytes = options.memory_swap == "-1" ? ResourceLimits::kUnlimited
                                                         : parse_size(options.memory_swap, "--memory-swap");
  if (*limits.memory_swap_bytes < *limits.memory_bytes)
    throw usage("--memory-swap is memory and swap together, so it must not be less than --memory");
}

void apply_cpu(const LimitOptions& options, ResourceLimits& limits) {
  const auto in_range = [](const std::optional<std::int64_t>& value, std::int64_t least, std::int64_t most,
                           const char* option) -> std::optional<std::uint64_t> {
    if (!value) return std::nullopt;
    if (*value < least || *value > most)
      throw usage(cat(option, " goes from ", least, " to ", most, ", not ", *value));
    return static_cast<std::uint64_t>(*value);
  };
  limits.cpu_period_us = in_range(options.cpu_period, 1000, 1'000'000, "--cpu-period");
  limits.cpu_quota_us = in_range(options.cpu_quota, 1000, 1'000'000'000'000, "--cpu-quota");
  limits.cpu_shares = in_range(options.cpu_shares, 2, kMostShares, "--cpu-shares");
  limits.cpuset_cpus = options.cpuset_cpus;
  limits.cpuset_mems = options.cpuset_mems;
  for (const auto& [list, option] :
       {std::pair(&options.cpuset_cpus, "--cpuset-cpus"), std::pair(&options.cpuset_mems, "--cpuset-mems")})
    if (list->find_first_not_of("0123456789,-") != std::string::npos)
      throw usage(cat(option, " wants a list like 0-2,4, not \"", printable(*list), "\""));
  if (options.cpus.empty()) return;
  if (limits.cpu_period_us || limits.cpu_quota_us)
    throw usage("--cpus stands for --cpu-period and --cpu-quota: give it or them");
  const auto cpus = parse_fraction(options.cpus);
  if (!cpus || *cpus < 0.01 || *cpus > 100000)
    throw usage(cat("--cpus wants a number of processors from 0.01 on, such as 1.5, not \"",
                    printable(options.cpus), "\""));
  limits.cpu_period_us = 100'000;
  limits.cpu_quota_us = static_cast<std::uint64_t>(*cpus * 100'000 + 0.5);
}

}  // namespace

void add_limit_options(CLI::App& command, LimitOptions& o) {
  command.add_option("-m,--memory", o.memory, "Most memory of each RUN, such as 512m");
  command.add_option("--memory-swap", o.memory_swap, "Most memory and swap together; -1: any amount of swap");
  command.add_option("--cpus", o.cpus, "Most processors of each RUN, such as 1.5");
  command.add_option("--cpu-period", o.cpu_period, "Microseconds --cpu-quota counts in (default 100000)");
  command.add_option("--cpu-quota", o.cpu_quota, "Microseconds of processor time of each RUN in a period");
  command.add_option("--cpu-shares", o.cpu_shares,
                     "Weight against other processes, 2 to 262144 (1024 is usual)");
  command.add_option("--cpuset-cpus", o.cpuset_cpus, "Processors RUN may use, such as 0-2,4");
  command.add_option("--cpuset-mems", o.cpuset_mems, "Memory nodes RUN may use");
  command.add_option("--pids-limit,--pids", o.pids, "Most processes of each RUN; 0 or -1: any number");
  command.add_option("--timeout", o.timeout, "Stop a RUN that takes longer, such as 90s or 1h30m");
  command.add_option("--step-log-max-size", o.log_size, "Most output shown of each RUN (default 2m; 0: all)");
  command.add_option("--step-log-max-speed", o.log_speed,
                     "Most output shown of each RUN in a second, after a burst (default 200k; 0: all)");
}

void apply_limits(const LimitOptions& options, builder::BuildRequest& request) {
  apply_memory(options, request.limits);
  apply_cpu(options, request.limits);
  if (options.pids) {
    if (*options.pids < -1) throw usage(cat("--pids-limit is a number of processes, not ", *options.pids));
    if (*options.pids > 0) request.limits.pids = static_cast<std::uint64_t>(*options.pids);
  }
  if (!options.timeout.empty()) {
    const auto timeout = parse_duration(options.timeout, "--timeout");
    if (timeout.count() != 0) request.step_timeout = timeout;
  }
  if (!options.log_size.empty())
    request.output_limits.max_bytes = parse_size(options.log_size, "--step-log-max-size");
  if (!options.log_speed.empty())
    request.output_limits.bytes_per_second = parse_size(options.log_speed, "--step-log-max-speed");
}

std::chrono::nanoseconds parse_duration(const std::string& text, const std::string& option) {
  const auto refuse = [&] {
    return usage(cat(option, " wants a duration like 90s, 15m or 1h30m, not \"", printable(text), "\""));
  };
  if (text == "0") return std::chrono::nanoseconds(0);
  std::string_view rest = text;
  double seconds = 0;
  while (!rest.empty()) {
    const auto digits = rest.substr(0, rest.find_first_not_of("0123456789."));
    const auto after = rest.substr(digits.size());
    const auto letters = after.substr(0, after.find_first_of("0123456789."));
    const auto number = parse_fraction(digits);
    const auto unit = unit_in_seconds(letters);
    if (!number || !unit) throw refuse();
    seconds += *number * *unit;
    rest = after.substr(letters.size());
  }
  constexpr double kMost = 100.0 * 366 * 24 * 3600;
  if (text.empty() || seconds > kMost) throw refuse();
  return std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9 + 0.5));
}

}  // namespace imgbuild::cli
