#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "oci/layer_entry.h"

namespace imgbuild::oci {

/// What a layer contains, without the file contents: its entries in tar order. Stored beside the layer under its
/// diff ID, so that nobody has to decompress a layer to know its names.
struct LayerIndex {
  std::vector<LayerEntry> entries;

  /// The stored form: versioned, checksummed, binary-safe (docs/formats/layer-index.md).
  std::string serialize() const;
  /// Throws IntegrityError for anything that serialize() did not write.
  static LayerIndex parse(std::string_view bytes);
};

}  // namespace imgbuild::oci
