#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "builder/diff.h"

namespace imgbuild::builder {

/// One thing the upper directory says, changed or not.
struct UpperNode {
  oci::LayerEntry entry;                 ///< a node or a whiteout
  oci::ContentOpener open;               ///< of a file with bytes that must be in the layer
  const oci::FileNode* below = nullptr;  ///< what the lower layers have there
  std::uint64_t device = 0, inode = 0;   ///< of what is no directory
  std::uint32_t depth = 0;               ///< number of directories it is in
  bool changed = false;                  ///< must be in the layer
  bool hides_below = false;              ///< nothing of `below` shows through
  bool linked = false;                   ///< has other names
};

/// Nodes that stay where they are made.
class UpperNodes {
 public:
  UpperNode& add() {
    if (blocks_.empty() || blocks_.back().size() == kBlock) blocks_.emplace_back().reserve(kBlock);
    return blocks_.back().emplace_back();
  }
  void list(std::vector<UpperNode*>& out) {
    for (auto& block : blocks_)
      for (UpperNode& node : block) out.push_back(&node);
  }
  std::size_t size() const noexcept {
    return blocks_.empty() ? 0 : (blocks_.size() - 1) * kBlock + blocks_.back().size();
  }

 private:
  static constexpr std::size_t kBlock = 64;
  std::vector<std::vector<UpperNode>> blocks_;
};

/// What a part of the walk finds, in the order of a layer.
struct UpperFinds {
  UpperNodes nodes;
  std::vector<std::string> sockets;
  std::vector<FuseMarks> fuse_marks;
};

struct UpperWalk {
  std::vector<UpperNode*> nodes;  ///< in the order of a layer; they are in `memory`
  std::vector<std::string> sockets;
  std::vector<FuseMarks> fuse_marks;
  std::vector<UpperNodes> memory;  ///< one for each piece the walk was done in
};

/// Opens the bytes of the file `path` of `upper`.
oci::ContentOpener upper_opener(const std::shared_ptr<const RootDir>& upper, const std::string& path);

/// Reads the whole upper directory, a large one with the help of the pool in `options`. The result is the
/// same with any number of threads, and so is the error when there are several: the first on the way. For the
/// errors see diff_upper().
UpperWalk walk_upper(const std::shared_ptr<const RootDir>& upper, const oci::FileTree& lower,
                     const DiffOptions& options);

}  // namespace imgbuild::builder
