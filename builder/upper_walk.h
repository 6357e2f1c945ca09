#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "builder/diff.h"

namespace imgbuild::builder {

/// One thing the upper directory says, changed or not.
struct UpperNode {
  oci::LayerEntry entry;                 ///< a node or a whiteout
  const oci::FileNode* below = nullptr;  ///< what the lower layers have there
  std::uint64_t device = 0, inode = 0;   ///< of what is no directory
  std::uint32_t depth = 0;               ///< number of directories it is in
  bool changed = false;                  ///< must be in the layer
  bool hides_below = false;              ///< nothing of `below` shows through
  bool linked = false;                   ///< has other names
};

struct UpperWalk {
  std::vector<UpperNode> nodes;  ///< in the order of a layer
  std::vector<std::string> sockets;
  std::vector<FuseMarks> fuse_marks;
  std::size_t pieces = 1;  ///< how many the walk was done in
};

/// Reads the whole upper directory, a large one with the help of the pool in `options`. The result is the
/// same with any number of threads, and so is the error when there are several: the first on the way. For the
/// errors see diff_upper().
UpperWalk walk_upper(int upper, const oci::FileTree& lower, const DiffOptions& options);

}  // namespace imgbuild::builder
