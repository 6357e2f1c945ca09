#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "builder/diff.h"

namespace imgbuild::builder {

/// One thing the upper directory says, changed or not.
struct UpperNode {
  static constexpr std::size_t kRoot = std::numeric_limits<std::size_t>::max();
  std::size_t parent = kRoot;            ///< index of the directory it is in
  oci::LayerEntry entry;                 ///< a node or a whiteout
  const oci::FileNode* below = nullptr;  ///< what the lower layers have there
  bool changed = false;                  ///< must be in the layer
  bool hides_below = false;              ///< nothing of `below` shows through
  std::uint64_t device = 0, inode = 0;
  bool linked = false;  ///< has other names
};

struct UpperWalk {
  std::vector<UpperNode> nodes;  ///< in the order of a layer
  std::vector<std::string> sockets;
  std::vector<FuseMarks> fuse_marks;
};

/// Reads the whole upper directory. For the errors see diff_upper().
UpperWalk walk_upper(int upper, const oci::FileTree& lower, const DiffOptions& options);

}  // namespace imgbuild::builder
