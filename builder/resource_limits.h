#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace imgbuild::builder {

/// What one RUN may use of the machine, in the words of docker's options. What is not set is not limited. The
/// numbers are checked where they are read (cli/limit_options.h).
struct ResourceLimits {
  static constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};
  static constexpr std::uint64_t kUsualPeriod = 100'000;  ///< microseconds, where none is given

  std::optional<std::uint64_t> memory_bytes;
  std::optional<std::uint64_t> memory_swap_bytes;  ///< memory and swap together; kUnlimited: any amount
  std::optional<std::uint64_t> cpu_quota_us;       ///< CPU time in each period
  std::optional<std::uint64_t> cpu_period_us;
  std::optional<std::uint64_t> cpu_shares;  ///< weight against others, 2 to 262144
  std::string cpuset_cpus, cpuset_mems;     ///< "0-2,4"; empty: all
  std::optional<std::uint64_t> pids;

  bool any() const noexcept {
    return memory_bytes || memory_swap_bytes || cpu_quota_us || cpu_period_us || cpu_shares ||
           !cpuset_cpus.empty() || !cpuset_mems.empty() || pids;
  }
  bool operator==(const ResourceLimits&) const = default;
};

}  // namespace imgbuild::builder
