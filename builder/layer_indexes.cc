#include "builder/layer_indexes.h"

#include <fcntl.h>

#include "base/error.h"
#include "base/strings.h"
#include "oci/layer_reader.h"

namespace imgbuild::builder {

namespace {

constexpr std::uint64_t kMaxIndexSize = std::uint64_t{4} << 30;

}  // namespace

LayerIndexes::LayerIndexes(const StoreDir& store, oci::BlobStore& blobs,
                           std::function<void(const oci::LayerBlob&)> fetch)
    : store_(store), blobs_(blobs), fetch_(std::move(fetch)) {
  ensure_dir_at(store.fd(), "indexes", 0700);
  dir_ = open_at(store.fd(), "indexes", O_RDONLY | O_DIRECTORY);
}

void LayerIndexes::put(const oci::DiffId& id, oci::LayerIndex index) {
  store_.publish(dir_.get(), id.value.hex(), index.serialize());
  const std::lock_guard guard(mutex_);
  indexes_[id.value] = std::make_shared<const oci::LayerIndex>(std::move(index));
}

std::optional<oci::LayerIndex> LayerIndexes::read(const oci::DiffId& id) const {
  const UniqueFd file = open_at_if_exists(dir_.get(), id.value.hex(), O_RDONLY);
  if (!file) return std::nullopt;
  try {
    return oci::LayerIndex::parse(read_file(file.get(), kMaxIndexSize, "layer index"));
  } catch (const IntegrityError&) {
    return std::nullopt;  // torn by a crash: the layer itself can tell again
  }
}

std::shared_ptr<const oci::LayerIndex> LayerIndexes::get(const oci::LayerBlob& layer) {
  {
    const std::lock_guard guard(mutex_);
    const auto known = indexes_.find(layer.diff_id.value);
    if (known != indexes_.end()) return known->second;
  }
  if (auto stored = read(layer.diff_id)) {
    auto shared = std::make_shared<const oci::LayerIndex>(std::move(*stored));
    const std::lock_guard guard(mutex_);
    return indexes_.emplace(layer.diff_id.value, std::move(shared)).first->second;
  }
  const auto working = store_.claim("indexes", layer.diff_id.value,
                                    cat("layer ", layer.diff_id.value.short_hex(), " to be read"));
  auto made_meanwhile = read(layer.diff_id);
  if (!made_meanwhile) {
    fetch_(layer);
    put(layer.diff_id, oci::index_layer(blobs_, layer));
  }
  const std::lock_guard guard(mutex_);
  if (made_meanwhile) {
    auto shared = std::make_shared<const oci::LayerIndex>(std::move(*made_meanwhile));
    return indexes_.emplace(layer.diff_id.value, std::move(shared)).first->second;
  }
  return indexes_.at(layer.diff_id.value);
}

oci::FileTree LayerIndexes::tree(const std::vector<oci::LayerBlob>& layers) {
  std::vector<oci::ChainId> chains;
  for (const auto& layer : layers) {
    chains.push_back(oci::chain(chains.empty() ? std::nullopt : std::optional(chains.back()), layer.diff_id));
  }
  oci::FileTree tree;
  std::size_t known = layers.size();
  {
    const std::lock_guard guard(mutex_);
    for (; known > 0; --known) {
      const auto found = trees_.find(chains[known - 1].value);
      if (found == trees_.end()) continue;
      tree = found->second;
      break;
    }
  }
  for (std::size_t i = known; i < layers.size(); ++i) {
    tree = tree.apply(*get(layers[i]), layers[i].diff_id);
    const std::lock_guard guard(mutex_);
    trees_.emplace(chains[i].value, tree);
  }
  return tree;
}

}  // namespace imgbuild::builder
