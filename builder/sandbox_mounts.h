#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "builder/fuse_overlay.h"
#include "builder/launch_request.h"
#include "builder/mount_stubs.h"
#include "builder/overlay_mount.h"
#include "builder/sandbox.h"
#include "oci/node_metadata.h"

namespace imgbuild::builder {

/// Everything of one RUN that is mounted from outside: prepared as detached mounts, attached by the launcher.
/// Whoever destroys it after the RUN has thrown away what writable bind mounts collected.
class SandboxMounts {
 public:
  struct Options {
    int scratch_dir = -1;
    oci::OverlayFlavour flavour = oci::OverlayFlavour::trusted;
    OverlayMountOptions overlay;
    int stub_layer = -1;                ///< of make_stub_layer(); borrowed
    const FuseProgram* fuse = nullptr;  ///< puts the overlays together in place of the kernel; borrowed
  };
  /// Throws Error for a target that is not allowed (SBX-58), UnsupportedError for too many mounts.
  SandboxMounts(const SandboxSpec& spec, const Options& options);

  int root() const noexcept { return root_.get(); }
  int context() const noexcept { return context_.get(); }
  /// Gives away the root's mount, which ends with this descriptor.
  UniqueFd take_root() noexcept { return std::move(root_); }
  const std::vector<UniqueFd>& fds() const noexcept {
    return fds_;
  }  ///< in the order the request counts them
  /// File systems in memory that only this command uses; they stay ours.
  const std::vector<int>& memory() const noexcept { return memory_; }
  /// Adds the mounts to the request; makes their mount points.
  void add_to(LaunchRequestBuilder& request);
  /// Hands one more descriptor to the launcher; its index. Throws UnsupportedError when there are too many.
  std::uint32_t keep(UniqueFd fd);
  /// Takes the mount points away again, after everything in the sandbox is gone.
  void clean() { stubs_.clean(); }
  /// Throws Error when a program that serves one of the mounts has ended, or does so within `patience`.
  void require_served(std::chrono::milliseconds patience = {});
  /// After clean(): unmounts everything and waits until the programs have written all there is. Throws Error
  /// when one of them did not end well.
  void finish_served();
  /// Leaves on the disk what would be removed: something inside may still use it.
  void leave() noexcept;

 private:
  void write_context_file(const std::string& name, std::string_view content, std::uint32_t mode,
                          std::uint32_t uid, std::uint32_t gid);
  void add_system_file(LaunchRequestBuilder& request, const std::string& path, const std::string& content);
  void add_user_mount(LaunchRequestBuilder& request, const SandboxMount& mount);
  UniqueFd open_merged(const SandboxMount& mount);
  UniqueFd merge(const OverlayDirs& dirs);

  const SandboxSpec& spec_;
  const Options options_;
  std::vector<TempDir> scratch_;
  std::vector<std::unique_ptr<FuseOverlay>> served_;
  UniqueFd root_, context_;
  MountStubs stubs_;
  std::vector<UniqueFd> fds_;
  std::vector<int> memory_;
  std::vector<std::string> covered_ = {"proc", "sys", "dev"};
  unsigned file_count_ = 0;
};

/// A directory with the mount points every sandbox needs, below `scratch_dir`. It goes under the lowest layer
/// of a root, so that what most images lack is there without being made, copied up and cleaned away in each
/// upper directory; what an image has or has deleted itself comes first. Throws SystemError.
TempDir make_stub_layer(int scratch_dir);

/// A mount target as the sandbox takes it: absolute, without `.`, `..` and doubled slashes. Throws Error for
/// targets that would hide the sandbox's own mounts (SBX-58). A device node may be anywhere below /dev.
std::string clean_mount_target(const std::string& target, bool device = false);
/// The content of /etc/hosts (SBX-53).
std::string hosts_file(const SandboxSpec& spec);

}  // namespace imgbuild::builder
