#include "builder/limit_keeper.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

constexpr int kKilled = 128 + 9;

/// Takes part `i` of the limits into `to`; false when there is no such part. Each can be kept without the
/// others.
bool take_part(const ResourceLimits& from, std::size_t i, ResourceLimits& to) {
  switch (i) {
    case 0:
      to.memory_bytes = from.memory_bytes;
      to.memory_swap_bytes = from.memory_swap_bytes;
      return true;
    case 1:
      to.cpu_quota_us = from.cpu_quota_us;
      to.cpu_period_us = from.cpu_period_us;
      return true;
    case 2:
      to.cpu_shares = from.cpu_shares;
      return true;
    case 3:
      to.cpuset_cpus = from.cpuset_cpus;
      return true;
    case 4:
      to.cpuset_mems = from.cpuset_mems;
      return true;
    case 5:
      to.pids = from.pids;
      return true;
    default:
      return false;
  }
}

void require_substitute(const ResourceLimits& limits, const std::string& why) {
  const auto refuse = [&](const char* option, const char* reason) {
    throw LimitRefused(option, cat(why, ", and ", reason));
  };
  if (limits.memory_swap_bytes) refuse("--memory-swap", "swap cannot be watched");
  if (limits.cpu_shares) refuse("--cpu-shares", "nothing else weighs processes");
  if (!limits.cpuset_mems.empty()) refuse("--cpuset-mems", "nothing else binds memory");
  if (limits.cpu_quota_us && !whole_processors(limits))
    refuse("--cpus", "without one only whole processors can be given, not a fraction");
  if ((limits.memory_bytes || limits.pids) && !ProcessTree::is_supported())
    refuse(
        limits.memory_bytes ? "--memory" : "--pids-limit",
        "this kernel does not show the children of a process (CONFIG_PROC_CHILDREN), so that they could be "
        "watched");
}

std::string list_of(const std::vector<std::string>& options) {
  std::string out;
  for (std::size_t i = 0; i < options.size(); ++i)
    out += cat(i == 0 ? "" : i + 1 == options.size() ? " and " : ", ", options[i]);
  return out;
}

std::string notice_of(const LimitSplit& split) {
  std::vector<std::string> watched, bound;
  if (split.substitute.memory_bytes) watched.push_back("--memory");
  if (split.substitute.pids) watched.push_back("--pids-limit");
  if (split.substitute.cpu_quota_us) bound.push_back("--cpus");
  if (!split.substitute.cpuset_cpus.empty()) bound.push_back("--cpuset-cpus");
  std::string out;
  if (!watched.empty())
    out = cat(list_of(watched), watched.size() == 1 ? " is" : " are",
              " watched by imgbuild, which can miss a burst");
  if (!bound.empty())
    out += cat(out.empty() ? "" : "; ", list_of(bound), bound.size() == 1 ? " binds" : " bind",
               " commands to processors, which they may change");
  if (out.empty()) return out;
  return cat("limits: ", out, "; the kernel does not keep ",
             watched.size() + bound.size() == 1 ? "it" : "them", " because ", split.why,
             "; to have that: ", join(delegation_advice(), "; "));
}

}  // namespace

std::optional<std::uint64_t> whole_processors(const ResourceLimits& limits) {
  const std::uint64_t period = limits.cpu_period_us.value_or(ResourceLimits::kUsualPeriod);
  if (!limits.cpu_quota_us || period == 0 || *limits.cpu_quota_us % period != 0 || *limits.cpu_quota_us == 0)
    return std::nullopt;
  return *limits.cpu_quota_us / period;
}

Cgroups& LimitKeeper::cgroups() {
  if (!cgroups_) cgroups_.emplace(files_, read_paths_());
  return *cgroups_;
}

const LimitSplit& LimitKeeper::split(const ResourceLimits& limits) {
  if (last_ && last_->first == limits) return last_->second;
  LimitSplit split;
  try {
    cgroups().make(limits);  // and removed again: it tells whether that can be had
    split.kernel = limits;
  } catch (const LimitRefused& refused) {
    split.why = refused.why();
    ResourceLimits part;
    for (std::size_t i = 0; take_part(limits, i, part); ++i, part = {}) {
      if (!part.any()) continue;
      try {
        cgroups().make(part);
        take_part(limits, i, split.kernel);
      } catch (const LimitRefused&) {
        take_part(limits, i, split.substitute);
      }
    }
    require_substitute(split.substitute, split.why);
  }
  last_ = {limits, std::move(split)};
  return last_->second;
}

KeptLimits LimitKeeper::keep(const ResourceLimits& limits, bool always_unified) {
  KeptLimits kept;
  if (!limits.any() && !always_unified) return kept;
  const std::lock_guard lock(mutex_);
  const LimitSplit& parts = split(limits);
  if (parts.kernel.any() || always_unified) kept.cgroup.emplace(cgroups().make(parts.kernel, always_unified));
  if (parts.kernel.memory_bytes) kept.oom.emplace();
  kept.watch.memory_bytes = parts.substitute.memory_bytes;
  kept.watch.processes = parts.substitute.pids;
  const bool bound = parts.substitute.cpu_quota_us || !parts.substitute.cpuset_cpus.empty();
  if (!bound) return kept;
  if (!processors_) processors_.emplace(own_processors());
  kept.processors.emplace(processors_->lease(
      whole_processors(parts.substitute).value_or(std::numeric_limits<std::uint64_t>::max()),
      parts.substitute.cpuset_cpus));
  return kept;
}

std::string LimitKeeper::take_notice(const ResourceLimits& limits) {
  if (!limits.any()) return {};
  const std::lock_guard lock(mutex_);
  std::string notice = notice_of(split(limits));
  if (noticed_) return {};
  noticed_ = true;
  return notice;
}

SandboxResult result_of(const WatchResult& watched, const KeptLimits& kept, const ResourceLimits& limits) {
  const launch::Ended& ended = watched.ended;
  SandboxResult out;
  out.exit_code = ended.signal != 0 ? 128 + ended.signal : ended.exit_code;
  out.timed_out = watched.timed_out;
  out.cpu_time = std::chrono::nanoseconds(ended.cpu_nanoseconds);
  out.peak_memory_bytes = ended.peak_memory_bytes;
  if (watched.seen) {
    const WatchReport& seen = *watched.seen;
    out.peak_memory_bytes = std::max(out.peak_memory_bytes, seen.peak_bytes);
    out.peak_is_total = out.peak_is_sampled = true;
    out.limit_reached = seen.reached != WatchReport::Limit::none;
    out.out_of_memory = seen.reached == WatchReport::Limit::memory;
    out.limit_report = describe_watched(seen, kept.watch);
    // It may have come to its own end in the same moment.
    if (out.limit_reached && out.exit_code == 0) out.exit_code = kKilled;
  }
  if (!kept.cgroup) return out;
  const CgroupCounts counts = kept.cgroup->counts();
  out.out_of_memory |= counts.oom_kills != 0;
  if (counts.cpu_time) out.cpu_time = *counts.cpu_time;
  if (counts.peak_memory_bytes) {
    out.peak_memory_bytes = *counts.peak_memory_bytes;
    out.peak_is_total = true;
    out.peak_is_sampled = false;
  }
  const bool failed = out.exit_code != 0 || out.timed_out;
  if (!failed || (counts.oom_kills == 0 && counts.refused_processes == 0)) return out;
  const std::string met =
      describe_limit(counts, limits, kept.oom ? kept.oom->victim(kept.cgroup->name()) : std::string());
  if (!met.empty()) out.limit_report += cat(out.limit_report.empty() ? "" : "; ", met);
  return out;
}

}  // namespace imgbuild::builder
