#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/layer_entry.h"
#include "oci/layer_index.h"

namespace imgbuild::oci {

/// Where the bytes of a regular file are: the member `path` of the layer `layer`.
struct ContentOrigin {
  DiffId layer;
  std::string path;
};

struct FileNode;
using FileNodePtr = std::shared_ptr<const FileNode>;

/// One inode of a merged tree. Immutable; shared between the trees of many snapshots.
struct FileNode {
  FileAttributes attributes;
  /// Equal for all names of one inode and unique within a tree otherwise; 0 for nodes with a single name.
  std::uint64_t link_group = 0;
  std::optional<ContentOrigin> origin;                       ///< regular files from a layer
  std::optional<Digest> content;                             ///< known content digest
  std::map<std::string, FileNodePtr, std::less<>> children;  ///< directories, byte order
};

/// The merged view of a stack of layers: what the file system of a snapshot looks like, without any file
/// system. A value: copying is cheap, `apply` makes another tree that shares what did not change. Thread-safe
/// to read.
class FileTree {
 public:
  /// An empty root directory 0755 0:0, mtime 0.
  FileTree();

  const FileNodePtr& root() const noexcept { return root_; }

  /// The node at `path` ("" or "/" is the root); links are not followed; nullptr when there is none.
  FileNodePtr find(std::string_view path) const;

  /// Where `path` leads when every symlink, the last one too if `follow_last`, is resolved inside the tree as
  /// in a chroot. `path` of the result has no leading slash and no link in it; components behind the first
  /// missing one are kept as written (`..` clamped). Throws Error "too many links" after 255 (COPY-10,
  /// COPY-28).
  struct Resolved {
    std::string path;
    FileNodePtr node;  ///< nullptr: does not exist
  };
  Resolved resolve(std::string_view path, bool follow_last = true) const;

  /// This tree with `layer` on top (whiteouts hide only what is below the layer). Directory entries keep the
  /// children below. Parents the layer does not mention are kept, or made 0755 0:0 with mtime 0. An entry for
  /// the root itself changes nothing (LAY-9). All names of a hard-linked file share one node. Throws
  /// IntegrityError for a hard link whose target is not an earlier file of this layer (LAY-24).
  FileTree apply(const LayerIndex& layer, const DiffId& id) const;

 private:
  explicit FileTree(FileNodePtr root) : root_(std::move(root)) {}
  FileNodePtr root_;
  std::uint64_t next_link_group_ = 1;
};

/// Visits every node below `path` (not the root itself) in byte order of the paths' components, parents
/// first. `visit` gets the path and the node and returns whether to descend.
void walk(const FileTree& tree, std::string_view path,
          const std::function<bool(const std::string& path, const FileNodePtr& node)>& visit);

}  // namespace imgbuild::oci
