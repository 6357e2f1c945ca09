#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "builder/oom_watch.h"
#include "builder/processors.h"
#include "builder/resource_limits.h"
#include "builder/sandbox.h"
#include "builder/sandbox_watch.h"
#include "builder/step_cgroup.h"
#include "builder/watchdog.h"

namespace imgbuild::builder {

/// What keeps the limits of one command, for as long as it runs.
struct KeptLimits {
  std::optional<StepCgroup> cgroup;             ///< of those the kernel keeps
  std::optional<OomWatch> oom;                  ///< says whom the kernel killed
  WatchOrder watch;                             ///< what the builder has to watch
  std::optional<Processors::Lease> processors;  ///< what the command is bound to
};

/// Which limits control groups apply here, and which have a substitute only.
struct LimitSplit {
  ResourceLimits kernel, substitute;
  std::string why;  ///< there are no control groups for the latter
};

/// Keeps the limits of commands by control groups where they can be had. Elsewhere memory and processes are
/// watched (builder/watchdog.h) and commands are bound to whole processors. Thread-safe.
class LimitKeeper {
 public:
  using ReadPaths = std::function<CgroupPaths()>;
  /// Reads nothing yet.
  LimitKeeper(CgroupFiles& files, ReadPaths paths) : files_(files), read_paths_(std::move(paths)) {}

  /// `always_unified`: a version 2 group whatever the limits are. Throws UnsupportedError for what has no
  /// substitute either (SBX-103).
  KeptLimits keep(const ResourceLimits& limits, bool always_unified = false);
  /// What the user should know about it, once: empty when the kernel keeps all of them, or it was said
  /// before. Throws as above.
  std::string take_notice(const ResourceLimits& limits);

 private:
  Cgroups& cgroups();
  const LimitSplit& split(const ResourceLimits& limits);

  CgroupFiles& files_;
  const ReadPaths read_paths_;
  std::mutex mutex_;
  std::optional<Cgroups> cgroups_;
  std::optional<std::pair<ResourceLimits, LimitSplit>> last_;  ///< the limits are the same for a whole build
  std::optional<Processors> processors_;
  bool noticed_ = false;
};

/// Whole processors that stand for a quota; nothing for a fraction.
std::optional<std::uint64_t> whole_processors(const ResourceLimits& limits);

/// What is to be told of a command that ended: its exit code, what it used, which limit it met.
SandboxResult result_of(const WatchResult& watched, const KeptLimits& kept, const ResourceLimits& limits);

}  // namespace imgbuild::builder
