#pragma once

#include "builder/layer_dirs.h"
#include "builder/layer_indexes.h"
#include "builder/overlay_xattr.h"
#include "builder/snapshotter.h"
#include "builder/work_area.h"

namespace imgbuild::builder {

/// Snapshots as overlays of extracted layers (tiers T0 to T2), put together by the kernel or by
/// fuse-overlayfs: the extracted layers are the same for both. For the user flavour the process must be root
/// of its user namespace. Must outlive what it made.
class OverlaySnapshotter final : public Snapshotter {
 public:
  /// The others are borrowed. `note_owners`: no id but one exists here, so owners are noted instead of set
  /// (tier T2). `writer`: who puts the overlays together, for the sandbox decides it. Throws SystemError.
  OverlaySnapshotter(const StoreDir& store, oci::BlobStore& blobs, LayerIndexes& indexes,
                     oci::OverlayFlavour flavour = oci::OverlayFlavour::trusted, std::uint64_t epoch = 1,
                     Syncer* syncer = nullptr, UseLog* uses = nullptr, bool note_owners = false,
                     UpperWriter writer = UpperWriter::kernel);

  std::unique_ptr<WritableSnapshot> prepare(const std::vector<oci::LayerBlob>& layers) override;
  std::unique_ptr<WritableSnapshot> prepare_on(const std::vector<oci::LayerBlob>& layers, Top top) override;
  std::shared_ptr<LayerDirs> open_layers(const std::vector<oci::LayerBlob>& layers) override;
  std::shared_ptr<ContentProvider> content(const std::vector<oci::LayerBlob>& layers) override;

  /// A directory on the store's file system for what may be thrown away (LinuxSandbox::Options::scratch_dir).
  int scratch_dir() const noexcept { return work_.fd(); }

 private:
  const oci::OverlayFlavour flavour_;
  const bool note_owners_;
  const UpperWriter writer_;
  WorkArea work_;
  UniqueFd empty_;  ///< the lower directory of snapshots without layers
  LayerDirStore dirs_;
};

}  // namespace imgbuild::builder
