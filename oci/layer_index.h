#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "oci/layer_entry.h"

namespace imgbuild::oci {

/// What a layer contains, without the file contents: its entries in tar order. Stored beside the layer under
/// its diff ID, so that nobody has to decompress a layer to know its names.
struct LayerIndex {
  std::vector<LayerEntry> entries;

  /// The stored form: versioned, checksummed, binary-safe (docs/formats/layer-index.md). Keeps of every entry
  /// what its kind and type use: a link target only of a symlink, attributes only of a node.
  std::string serialize() const;
  /// Throws IntegrityError for anything that serialize() did not write.
  static LayerIndex parse(std::string_view bytes);
};

}  // namespace imgbuild::oci
