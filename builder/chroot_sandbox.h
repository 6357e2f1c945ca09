#pragma once

#include <mutex>
#include <optional>

#include "base/unique_fd.h"
#include "builder/launcher_process.h"
#include "builder/limit_keeper.h"
#include "builder/sandbox.h"
#include "builder/stop_sequence.h"

namespace imgbuild::builder {

/// The sandbox of tier T3, for root in a container that may not mount: another root directory, fewer
/// capabilities, and an end to everything the command started (RLS-19, SBX-87). It keeps well-behaved
/// commands apart from the files around them. It is no boundary against hostile ones: they share the network,
/// the process numbers and the user of the builder, may kill it, and keep what the container may do.
class ChrootSandbox final : public Sandbox {
 public:
  struct Options {
    int scratch_dir = -1;  ///< on the file system of the roots; borrowed
    bool allow_disk_secrets = false;
    StopTimes stop_times;
  };
  /// Does nothing yet.
  explicit ChrootSandbox(const Options& options) : options_(options) {}

  bool can_mount() const noexcept override { return false; }
  std::string take_limits_notice(const ResourceLimits& limits) override {
    return limits_.take_notice(limits);
  }
  /// Throws UnsupportedError as well, for what needs a namespace: network none, security insecure.
  SandboxResult run(const SandboxSpec& spec, const std::function<void(int stream, std::string_view)>& output,
                    std::stop_token stop) override;

 private:
  const Options options_;
  LimitKeeper limits_{kernel_cgroup_files(), read_cgroup_paths};  ///< before the launcher
  std::once_flag started_;
  std::optional<LauncherProcess> launcher_;
};

}  // namespace imgbuild::builder
