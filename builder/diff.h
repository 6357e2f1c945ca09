#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/root_dir.h"
#include "base/unique_fd.h"
#include "oci/file_tree.h"
#include "oci/layer_entry.h"
#include "oci/node_metadata.h"

namespace imgbuild::builder {

struct DiffOptions {
  oci::OverlayFlavour flavour = oci::OverlayFlavour::trusted;
  std::uint64_t max_file_size = std::uint64_t{64} << 30;  ///< apparent (OVL-26)
  /// Opens the bytes of a regular file of the lower layers, to compare it with its copy. Needed only for
  /// copies that differ in nothing else.
  std::function<UniqueFd(const oci::ContentOrigin&)> open_lower;
};

struct UpperDiff {
  std::vector<oci::PendingEntry> entries;  ///< complete and in the order of a layer
  /// The upper directory shows the same as the layer made of `entries`, so it may stand for it (OVL-11).
  bool upper_is_exact = true;
  std::vector<std::string> skipped_sockets;  ///< a layer has no sockets
};

/// What the upper directory of an overlay changes in `lower`, the merged tree below it (OVL-20…27,
/// LAY-23…38): copies that changed nothing are left out, parents are in, opaque directories become whiteouts
/// of what they hide. No process may write into `upper` any more; the openers keep it open. Throws Error for
/// what no layer can hold: a name starting with `.wh.`, a file that is too large, a path that is too long.
UpperDiff diff_upper(std::shared_ptr<const RootDir> upper, const oci::FileTree& lower,
                     const DiffOptions& options);

}  // namespace imgbuild::builder
