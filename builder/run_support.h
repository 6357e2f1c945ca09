#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/store_dir.h"
#include "base/syncer.h"
#include "base/use_log.h"
#include "builder/apparmor.h"
#include "builder/layer_indexes.h"
#include "builder/probe.h"
#include "builder/sandbox.h"
#include "builder/snapshotter.h"
#include "builder/snapshotter_choice.h"
#include "oci/blob_store.h"

namespace imgbuild::builder {

/// What RUN needs of this machine, or why it cannot be had.
struct RunSupport {
  Snapshotter* snapshots = nullptr;  ///< of use for the bytes of files even without a sandbox
  Sandbox* sandbox = nullptr;        ///< none where RUN cannot be had
  std::string refusal;               ///< why there is no sandbox, for the error of a RUN
  std::vector<std::string> advice;   ///< what to do about that
  Tier tier = Tier::none;
  std::string snapshotter;         ///< "overlay", "fuse-overlayfs" or "copy"
  std::string snapshotter_reason;  ///< why not overlay; empty otherwise
  std::string fuse_reason;         ///< why not fuse-overlayfs, where that was looked at; empty otherwise
  std::string fuse_defect;         ///< of the fuse-overlayfs that was asked for and is used; empty otherwise
  bool overlay_failed = false;     ///< it was tried
  std::string better_place;        ///< then: a directory with a file system that could carry overlays
  std::vector<Blocker> blockers;   ///< of the better tiers
  AppArmorChoice apparmor;         ///< how commands get their AppArmor profile, or why they get none
};

/// One line for people: the tier, the snapshotter, and the first reason why it is not a better one (SBX-4).
std::string run_support_line(const RunSupport& support);

/// Throws UnsupportedError with the reason and the advice where RUN cannot be had.
void require_run(const RunSupport& support);

/// Finds out at the first get() what this machine can do, and opens it; a build whose steps are all cached or
/// need no directories never asks and pays nothing. What worked once in this environment on this store is not
/// tried again (SBX-7). Thread-safe. Borrows everything; must outlive what it gave.
class LazyRunSupport {
 public:
  struct Options {
    StoreDir store = -1;
    std::uint64_t epoch = 1;     ///< LayerDirStore::Options
    Syncer* syncer = nullptr;    ///< the same
    UseLog* uses = nullptr;      ///< the same
    bool read_only = false;      ///< the store
    TierReport tier;             ///< the tier the process has moved into
    std::string environment;     ///< run_environment() before it did; empty: it moved nowhere
    std::uint32_t real_uid = 0;  ///< before it did
    Isolation isolation = Isolation::automatic;
    SnapshotterKind snapshotter = SnapshotterKind::automatic;
    bool shared_processes = false;  ///< --no-process-sandbox
    bool allow_disk_secrets = false;
  };
  LazyRunSupport(Options options, oci::BlobStore& blobs, LayerIndexes& indexes);
  ~LazyRunSupport();

  /// Never throws for what the machine cannot do; SystemError when the store cannot be used.
  const RunSupport& get();
  /// Whether get() may well find that RUN cannot be had. Costs nothing.
  bool is_doubtful() const noexcept {
    return options_.tier.tier == Tier::chroot || options_.tier.tier == Tier::none;
  }

 private:
  struct Opened;
  RunSupport open();
  void probe_tier(RunSupport& support) const;
  SnapshotterKind choose(RunSupport& support);
  void open_namespaced(RunSupport& support, SnapshotterKind kind);
  void open_chroot(RunSupport& support);
  void refuse_snapshotter(RunSupport& support) const;
  void explain(RunSupport& support) const;

  const Options options_;
  oci::BlobStore& blobs_;
  LayerIndexes& indexes_;
  std::once_flag once_;
  std::unique_ptr<Opened> opened_;
  RunSupport support_;
};

}  // namespace imgbuild::builder
