#include "builder/cgroup_settings.h"

#include <algorithm>

#include "base/strings.h"

namespace imgbuild::builder {

namespace {

/// docker gives as much swap again when nothing is said.
std::uint64_t memory_and_swap(const ResourceLimits& limits) {
  if (limits.memory_swap_bytes) return *limits.memory_swap_bytes;
  const std::uint64_t memory = *limits.memory_bytes;
  return memory > ResourceLimits::kUnlimited / 2 ? ResourceLimits::kUnlimited : 2 * memory;
}

void add_cpusets(const ResourceLimits& limits, std::vector<CgroupSetting>& out) {
  if (!limits.cpuset_mems.empty())
    out.push_back({"cpuset", "cpuset.mems", limits.cpuset_mems, "--cpuset-mems"});
  if (!limits.cpuset_cpus.empty())
    out.push_back({"cpuset", "cpuset.cpus", limits.cpuset_cpus, "--cpuset-cpus"});
}

}  // namespace

std::vector<CgroupSetting> unified_settings(const ResourceLimits& limits) {
  std::vector<CgroupSetting> out;
  if (limits.memory_bytes) {
    const std::uint64_t both = memory_and_swap(limits);
    const std::string swap =
        both == ResourceLimits::kUnlimited ? "max" : cat(both - std::min(both, *limits.memory_bytes));
    out.push_back({"memory", "memory.max", cat(*limits.memory_bytes), "--memory"});
    out.push_back({"memory", "memory.swap.max", swap, "--memory-swap", !limits.memory_swap_bytes});
    // A build of which one process is missing is no build.
    out.push_back({"memory", "memory.oom.group", "1", "--memory", true});
  }
  if (limits.cpu_quota_us || limits.cpu_period_us) {
    const std::string quota = limits.cpu_quota_us ? cat(*limits.cpu_quota_us) : "max";
    out.push_back({"cpu", "cpu.max",
                   cat(quota, " ", limits.cpu_period_us.value_or(ResourceLimits::kUsualPeriod)), "--cpus"});
  }
  if (limits.cpu_shares)
    out.push_back({"cpu", "cpu.weight", cat(1 + (*limits.cpu_shares - 2) * 9999 / 262142), "--cpu-shares"});
  add_cpusets(limits, out);
  if (limits.pids) out.push_back({"pids", "pids.max", cat(*limits.pids), "--pids-limit"});
  return out;
}

std::vector<CgroupSetting> v1_settings(const ResourceLimits& limits) {
  std::vector<CgroupSetting> out;
  if (limits.memory_bytes) {
    const std::uint64_t both = memory_and_swap(limits);
    out.push_back({"memory", "memory.limit_in_bytes", cat(*limits.memory_bytes), "--memory"});
    // Not counted on kernels started without swapaccount=1.
    out.push_back({"memory", "memory.memsw.limit_in_bytes",
                   both == ResourceLimits::kUnlimited ? "-1" : cat(both), "--memory-swap",
                   !limits.memory_swap_bytes});
  }
  if (limits.cpu_period_us)
    out.push_back({"cpu", "cpu.cfs_period_us", cat(*limits.cpu_period_us), "--cpu-period"});
  if (limits.cpu_quota_us)
    out.push_back({"cpu", "cpu.cfs_quota_us", cat(*limits.cpu_quota_us), "--cpu-quota"});
  if (limits.cpu_shares) out.push_back({"cpu", "cpu.shares", cat(*limits.cpu_shares), "--cpu-shares"});
  add_cpusets(limits, out);
  if (limits.pids) out.push_back({"pids", "pids.max", cat(*limits.pids), "--pids-limit"});
  return out;
}

std::vector<std::string> controllers_of(const std::vector<CgroupSetting>& settings) {
  std::vector<std::string> out;
  for (const auto& setting : settings)
    if (std::find(out.begin(), out.end(), setting.controller) == out.end()) out.push_back(setting.controller);
  return out;
}

}  // namespace imgbuild::builder
