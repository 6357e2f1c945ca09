#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "builder/cgroup_base.h"
#include "builder/cgroup_files.h"
#include "builder/cgroup_paths.h"
#include "builder/cgroup_settings.h"
#include "builder/resource_limits.h"

namespace imgbuild::builder {

/// A limit that control groups cannot apply here (SBX-103).
class LimitRefused : public UnsupportedError {
 public:
  /// `option`: "--memory". `why`: the end of a sentence.
  LimitRefused(const std::string& option, std::string why);
  const std::string& why() const noexcept { return why_; }

 private:
  std::string why_;
};

/// How control groups can be had here, a line each.
std::vector<std::string> delegation_advice();

/// What control groups counted of one command. What a kernel does not count is empty.
struct CgroupCounts {
  std::uint64_t oom_kills = 0;
  std::uint64_t refused_processes = 0;  ///< attempts to have more than the limit
  std::optional<std::uint64_t> peak_memory_bytes;
  std::optional<std::chrono::nanoseconds> cpu_time;
};

/// The control groups of one command, with its limits set. Removes them in the destructor; what is still busy
/// after a second is left to a later sweep (SBX-104).
class StepCgroup {
 public:
  StepCgroup(CgroupFiles& files, std::vector<UniqueFd> locks) : files_(files), locks_(std::move(locks)) {}
  StepCgroup(StepCgroup&&) noexcept = default;
  StepCgroup& operator=(StepCgroup&&) = delete;
  ~StepCgroup();

  /// The files the command joins by, opened for writing.
  const std::vector<UniqueFd>& joins() const noexcept { return joins_; }
  /// The version 2 directory, into which a process can be born; null when there is none.
  const UniqueFd* unified() const noexcept { return unified_ ? &*unified_ : nullptr; }
  /// Valid after the command has ended.
  CgroupCounts counts() const;
  /// The name that is in the path of every group of this command, and of no other.
  const std::string& name() const noexcept { return name_; }
  const std::vector<std::string>& directories() const noexcept { return directories_; }

 private:
  friend class Cgroups;
  CgroupFiles& files_;
  std::vector<UniqueFd> locks_;  ///< tell sweeps that somebody lives
  std::string name_;
  std::vector<std::string> directories_;
  std::optional<std::size_t> unified_index_;
  std::vector<UniqueFd> joins_;
  std::optional<UniqueFd> unified_;
};

/// Makes the control groups of this process's commands. Thread-safe.
class Cgroups {
 public:
  Cgroups(CgroupFiles& files, CgroupPaths paths);

  /// Groups in every hierarchy `limits` need, with the limits set. `with_unified`: also one of version 2 when
  /// that is mounted, needed or not. Throws LimitRefused, which says what is missing and what to do.
  StepCgroup make(const ResourceLimits& limits, bool with_unified = false);

 private:
  void add(StepCgroup& group, const std::string& base, const std::vector<CgroupSetting>& settings);
  void add_unified(StepCgroup& group, const ResourceLimits& limits);
  void add_v1(StepCgroup& group, const ResourceLimits& limits);
  void fill_cpuset(const std::string& base, const std::string& directory);
  void sweep(const std::string& base);

  CgroupFiles& files_;
  const CgroupPaths paths_;
  std::mutex mutex_;
  std::optional<CgroupBase> base_;
  std::vector<std::string> swept_;
  const std::string prefix_;
  unsigned count_ = 0;
};

/// Which limit a command met, for the error: empty when none. `victim`: the process that was killed, empty if
/// not known.
std::string describe_limit(const CgroupCounts& counts, const ResourceLimits& limits,
                           const std::string& victim);

}  // namespace imgbuild::builder
