#pragma once

#include <optional>
#include <vector>

#include "oci/descriptor.h"

namespace imgbuild::builder {

/// The file system state a step starts from or leaves behind: a stack of layers, and how it came to be. A
/// value.
struct Snapshot {
  std::vector<oci::LayerBlob> layers;   ///< base first
  std::optional<oci::ChainId> chain;    ///< names the stack; nothing: empty
  Digest key = Digest::from_bytes({});  ///< cache key of the step (or base) that led here
  std::size_t inherited = 0;            ///< how many of the lowest layers came with an image
  bool forced = false;                  ///< something below ran only because it was told to (STG-9)

  /// This snapshot with one more layer.
  Snapshot with(const oci::LayerBlob& layer, const Digest& step_key, bool is_forced) const {
    Snapshot next{layers, oci::chain(chain, layer.diff_id), step_key, inherited, is_forced};
    next.layers.push_back(layer);
    return next;
  }
};

}  // namespace imgbuild::builder
