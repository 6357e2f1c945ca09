#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/file_lock.h"
#include "base/store_dir.h"
#include "base/syncer.h"
#include "base/unique_fd.h"
#include "base/use_log.h"
#include "builder/content_provider.h"
#include "builder/layer_indexes.h"
#include "builder/snapshotter.h"
#include "builder/work_area.h"

namespace imgbuild::builder {

/// One extracted layer, open. Holds a shared lock on its `meta`: whoever removes layers takes that lock
/// exclusively before and so never takes one away that is in use (STO-22).
struct LayerDir {
  oci::DiffId diff_id;
  UniqueFd fs;
  FileLock lease;
};

class LayerDirStore;

/// The bytes of the files of a stack of layers. A layer is opened, and extracted if need be, when the first
/// of its files is asked for, and stays open. Thread-safe.
class LayerFiles {
 public:
  /// `store` is borrowed.
  LayerFiles(LayerDirStore& store, std::vector<oci::LayerBlob> layers);
  /// The file as its layer has it. Throws Error when the layer is none of these, SystemError.
  UniqueFd open(const oci::ContentOrigin& origin);

 private:
  LayerDirStore& store_;
  const std::vector<oci::LayerBlob> layers_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<const LayerDir>> open_;  // by index of `layers_`
};

/// A stack of layers as lower directories of an overlay, top first: `top`, if given, on top of `layers`.
/// Without any it is the directory `empty`, which is borrowed, as is `store`.
class OpenLayers final : public LayerDirs {
 public:
  OpenLayers(LayerDirStore& store, const std::vector<oci::LayerBlob>& layers, int empty,
             std::optional<Snapshotter::Top> top = {});
  const std::vector<int>& fds() const noexcept override { return fds_; }
  UniqueFd open_file(const oci::ContentOrigin& origin) const;

 private:
  const std::optional<Snapshotter::Top> top_;
  std::vector<std::shared_ptr<const LayerDir>> dirs_;
  std::vector<int> fds_;
  std::unique_ptr<LayerFiles> files_;
};

/// The kinds of StoreDir::claim() for whoever extracts, publishes or removes a layer, or only the bytes of
/// its files; the key is the chain ID.
inline constexpr const char* kLayerClaim = "layers";
inline constexpr const char* kContentClaim = "contents";
/// Of what lies at `path` in the store: `layers/…` or `contents/…`.
inline bool is_content_path(std::string_view path) { return path.starts_with("contents/"); }
inline const char* claim_of_layer_path(std::string_view path) {
  return is_content_path(path) ? kContentClaim : kLayerClaim;
}

/// `layers/<chain ID>/{fs,meta}` of the store: layers extracted as lower directories of an overlay (OVL-11).
/// Such a directory is complete and never changes from the moment it has its name (STO-5, OVL-53); one
/// without a valid `meta`, or of the other flavour, counts as not there and is replaced. Thread-safe, and
/// several processes may share it.
class LayerDirStore {
 public:
  struct Options {
    oci::OverlayFlavour flavour = oci::OverlayFlavour::trusted;
    bool make_devices = true;
    std::uint64_t epoch = 1;  ///< of the store; a layer of an earlier one may have lost bytes (STO-8)
    UseLog* uses = nullptr;   ///< is told which layers are opened
    Syncer* syncer =
        nullptr;  ///< puts a layer on the disk before it gets its name; such a layer has no epoch
    bool record_owner = false;  ///< oci::MetadataOptions
    /// Only the bytes of files (oci::ApplyOptions), in `contents/` instead of `layers/`: no lower
    /// directories, but they need no rights to be made and serve every kind of snapshotter.
    bool content_only = false;
  };
  LayerDirStore(const StoreDir& store, oci::BlobStore& blobs, LayerIndexes& indexes, const WorkArea& work,
                const Options& options);

  /// Directories that show all layers one on top of the other, base first; missing ones are extracted from
  /// their blobs. Of a deep stack the lower layers are merged into a few directories: every mount, and every
  /// lookup that finds nothing, costs time for each of them, and the kernel takes 500 (SBX-33, SBX-35).
  std::vector<std::shared_ptr<const LayerDir>> open(const std::vector<oci::LayerBlob>& layers);

  /// The layer at `index` of `layers` only.
  std::shared_ptr<const LayerDir> open_one(const std::vector<oci::LayerBlob>& layers, std::size_t index);

  /// Gives the directory `fs` in `dir` its name as the layer `chain`; `dir` is released then, and left alone
  /// when the layer is there already. Returns the layer, so that nobody removes it.
  std::shared_ptr<const LayerDir> publish(TempDir& dir, const oci::ChainId& chain,
                                          const oci::DiffId& diff_id);

 private:
  std::shared_ptr<const LayerDir> open_chain(const std::vector<oci::LayerBlob>& layers, std::size_t index,
                                             const oci::ChainId& chain);
  /// The layers from `first` up to but not with `last` in one directory; `chains` are those of all layers.
  std::shared_ptr<const LayerDir> open_block(const std::vector<oci::LayerBlob>& layers,
                                             const std::vector<oci::ChainId>& chains, std::size_t first,
                                             std::size_t last);
  std::shared_ptr<const LayerDir> find(const oci::ChainId& chain, const oci::DiffId& diff_id);
  void keep(const std::vector<std::shared_ptr<const LayerDir>>& stack);
  std::shared_ptr<const LayerDir> open_valid(const oci::ChainId& chain, const oci::DiffId& diff_id) const;
  void extract(const std::vector<oci::LayerBlob>& layers, std::size_t index, const oci::ChainId& chain);
  void publish_locked(TempDir& dir, const oci::ChainId& chain, const oci::DiffId& diff_id);
  /// The right to extract or publish this layer.
  std::optional<WorkClaim> claim(const oci::ChainId& chain) const;
  std::string meta_text(const oci::ChainId& chain, const oci::DiffId& diff_id, std::uint64_t epoch) const;

  oci::BlobStore& blobs_;
  LayerIndexes& indexes_;
  const WorkArea& work_;
  const Options options_;
  StoreDir store_;
  UniqueFd layers_;
  std::mutex mutex_;
  std::unordered_map<Digest, std::weak_ptr<const LayerDir>> open_;  // by chain ID
  /// The stacks that were opened last stay open: the next step of a stage wants the same layers and one more,
  /// and would otherwise open, lock and check each of them again.
  std::array<std::vector<std::shared_ptr<const LayerDir>>, 4> kept_;
  std::size_t next_kept_ = 0;
};

/// Bytes of the files of a stack of layers, which are extracted when the first byte is asked for. `store` is
/// borrowed. Thread-safe.
std::shared_ptr<ContentProvider> extracted_content(LayerDirStore& store, std::vector<oci::LayerBlob> layers);

}  // namespace imgbuild::builder
