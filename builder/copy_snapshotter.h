#pragma once

#include <list>
#include <mutex>
#include <optional>

#include "builder/layer_dirs.h"
#include "builder/layer_indexes.h"
#include "builder/snapshotter.h"
#include "builder/work_area.h"

namespace imgbuild::builder {

/// A directory that holds the file system of a stack of layers.
struct TreeCopy {
  std::vector<oci::DiffId> layers;
  TempDir dir;

  /// `fs` in `dir`, which belongs to root and nobody else can enter.
  UniqueFd open() const;
};

/// Snapshots as plain copies of the whole file system, for where no overlay can be had: bytes are extracted
/// once per layer and shared by reflink where the file system can do that. After a RUN its directory is kept
/// and, changed by the layers in between, becomes the root of the next RUN of that stage. Needs no right to
/// mount. Thread-safe; must outlive what it made.
class CopySnapshotter final : public Snapshotter {
 public:
  struct Options {
    std::uint64_t epoch = 1;   ///< LayerDirStore::Options
    Syncer* syncer = nullptr;  ///< the same
    UseLog* uses = nullptr;    ///< the same
    bool make_devices = true;  ///< false: empty files stand for them (FS-25)
    bool keep_owner = true;
    bool note_owners = false;  ///< only one id exists here (tier T2)
  };
  /// The others are borrowed. Throws SystemError.
  CopySnapshotter(const StoreDir& store, oci::BlobStore& blobs, LayerIndexes& indexes,
                  const Options& options);

  std::unique_ptr<WritableSnapshot> prepare(const std::vector<oci::LayerBlob>& layers) override;
  std::shared_ptr<LayerDirs> open_layers(const std::vector<oci::LayerBlob>& layers) override;
  std::shared_ptr<ContentProvider> content(const std::vector<oci::LayerBlob>& layers) override;

  int scratch_dir() const noexcept { return work_.fd(); }

 private:
  class Snapshot;
  class Copy;

  TreeCopy make_copy(const std::vector<oci::LayerBlob>& layers, LayerFiles& contents, bool reuse);
  std::optional<TreeCopy> take_kept(const std::vector<oci::LayerBlob>& layers);
  void keep(TreeCopy copy);

  const Options options_;
  LayerIndexes& indexes_;
  WorkArea work_;
  LayerDirStore contents_;
  std::mutex mutex_;
  std::list<TreeCopy> kept_;  ///< latest first
};

}  // namespace imgbuild::builder
