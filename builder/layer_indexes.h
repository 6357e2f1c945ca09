#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "base/store_dir.h"
#include "base/unique_fd.h"
#include "oci/blob_store.h"
#include "oci/descriptor.h"
#include "oci/file_tree.h"
#include "oci/layer_index.h"

namespace imgbuild::builder {

/// The indexes of stored layers, by diff ID, in memory and under `indexes/` of the store, and the merged
/// trees they make. An index that is missing is made by reading the layer's blob once. Thread-safe.
class LayerIndexes {
 public:
  /// `fetch` makes sure that the blob of a layer is in `blobs` (it may come from a registry).
  LayerIndexes(const StoreDir& store, oci::BlobStore& blobs,
               std::function<void(const oci::LayerBlob&)> fetch);

  /// Keeps the index of a layer that was just written.
  void put(const oci::DiffId& id, oci::LayerIndex index);
  std::shared_ptr<const oci::LayerIndex> get(const oci::LayerBlob& layer);
  /// The merged tree of `layers`, base first. Trees of known stacks are reused.
  oci::FileTree tree(const std::vector<oci::LayerBlob>& layers);

 private:
  std::optional<oci::LayerIndex> read(const oci::DiffId& id) const;

  StoreDir store_;
  UniqueFd dir_;
  oci::BlobStore& blobs_;
  std::function<void(const oci::LayerBlob&)> fetch_;
  std::mutex mutex_;
  std::unordered_map<Digest, std::shared_ptr<const oci::LayerIndex>> indexes_;
  std::unordered_map<Digest, oci::FileTree> trees_;  // by chain ID
};

}  // namespace imgbuild::builder
