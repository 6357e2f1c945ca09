#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/compress.h"
#include "base/packed_pieces.h"
#include "base/store_dir.h"
#include "base/unique_fd.h"
#include "oci/blob_store.h"

namespace imgbuild::builder {

/// The compressed pieces of one stored layer, for another layer that is much like it. Their list lies under
/// `pieces/` of the store (docs/formats/layer-pieces.md). Thread-safe.
class LayerPieces final : public PackedPieces {
 public:
  /// No pieces.
  LayerPieces() = default;
  /// Those of the layer `blob`, if they were compressed as `how` says. None when there is no list, it is
  /// damaged, or the layer is not stored.
  static LayerPieces open(const StoreDir& store, const oci::BlobStore& blobs, const Digest& blob,
                          const Compression& how);

  std::size_t load(const Digest& plain, std::span<char> out) const override;
  std::size_t count() const noexcept { return pieces_.size(); }

 private:
  UniqueFd blob_;
  std::unordered_map<Digest, PackedPiece> pieces_;
};

/// Keeps the list of the layer `blob`. A store that does not take it only costs the next build time.
void save_layer_pieces(const StoreDir& store, const Digest& blob, const Compression& how,
                       const std::vector<PackedPiece>& pieces);

/// The stored form, and back; nothing for anything the first did not write.
std::string encode_pieces(const std::string& codec, const std::vector<PackedPiece>& pieces);
std::optional<std::vector<PackedPiece>> decode_pieces(std::string_view bytes, const std::string& codec);

}  // namespace imgbuild::builder
