#pragma once

#include <mutex>
#include <optional>

#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "builder/apparmor.h"
#include "builder/fuse_program.h"
#include "builder/launcher_process.h"
#include "builder/limit_keeper.h"
#include "builder/overlay_mount.h"
#include "builder/sandbox.h"
#include "builder/sandbox_watch.h"
#include "builder/stop_sequence.h"
#include "oci/node_metadata.h"

namespace imgbuild::builder {

/// The sandbox of tiers T0 and T1: namespaces, overlay, filter, capabilities. The caller is root, or root of
/// its user namespace (builder/user_namespace.h) and uses the user flavour then.
class LinuxSandbox final : public Sandbox {
 public:
  struct Options {
    int scratch_dir =
        -1;  ///< on the file system of the store, for what writable bind mounts throw away; borrowed
    oci::OverlayFlavour flavour = oci::OverlayFlavour::trusted;
    OverlayMountOptions overlay;  ///< what an older kernel would need, for tests
    StopTimes stop_times;
    bool always_unified_group = false;  ///< a version 2 control group for every command, for tests
    bool shared_processes = false;      ///< commands see the processes around them (RLS-14)
    bool no_groups = false;             ///< supplementary groups cannot be set here (RLS-11)
    AppArmorChoice apparmor;            ///< the profile of commands (SBX-98)
    const FuseProgram* fuse = nullptr;  ///< puts overlays together in place of the kernel; borrowed
  };
  /// Does nothing yet: a build whose steps are all cached pays nothing for the sandbox.
  explicit LinuxSandbox(const Options& options) : options_(options) {}

  std::string take_limits_notice(const ResourceLimits& limits) override {
    return limits_.take_notice(limits);
  }
  SandboxResult run(const SandboxSpec& spec, const std::function<void(int stream, std::string_view)>& output,
                    std::stop_token stop) override;

 private:
  void start();

  const Options options_;
  std::once_flag started_;  ///< by the first run(); a failure is tried again by the next
  std::optional<TempDir> stub_layer_;
  LimitKeeper limits_{kernel_cgroup_files(), read_cgroup_paths};  ///< before the launcher, which must be gone
                                                                  ///< when it leaves its own group
  std::vector<UniqueFd> devices_;  ///< the host's own, verified, in the order of launch::LaunchFd
  std::optional<LauncherProcess> launcher_;
};

}  // namespace imgbuild::builder
