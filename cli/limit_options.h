#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace CLI {
class App;
}

namespace imgbuild::builder {
struct BuildRequest;
}

namespace imgbuild::cli {

/// What RUN may use, as written on the command line.
struct LimitOptions {
  std::string memory, memory_swap, cpus, cpuset_cpus, cpuset_mems, timeout, log_size, log_speed;
  std::optional<std::int64_t> cpu_quota, cpu_period, cpu_shares, pids;
};

void add_limit_options(CLI::App& command, LimitOptions& options);

/// Throws Error (usage) for a value the kernel could not take, or two that exclude each other.
void apply_limits(const LimitOptions& options, builder::BuildRequest& request);

/// `90s`, `1h30m`, `1.5m`, `200ms`: numbers with ns, us, ms, s, m or h; `0` alone. Throws Error (usage).
std::chrono::nanoseconds parse_duration(const std::string& text, const std::string& option);

}  // namespace imgbuild::cli
