#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/timestamp.h"
#include "oci/file_tree.h"
#include "oci/layer_entry.h"

namespace imgbuild::builder {

/// A node of a DraftTree.
struct DraftNode {
  oci::FileAttributes attributes;
  oci::ContentOpener open;  ///< new regular files
  std::optional<Digest> content;
  std::uint64_t link_group = 0;  ///< new files: equal for the names of one inode; 0: a single name
  bool in_layer = false;         ///< it or something below is new or changed
  bool merges = false;           ///< directories: what the tree below has here is still there
  DraftNode* parent = nullptr;   ///< the root's is itself
  std::string_view name;
  oci::FileNodePtr lower;  ///< what the tree below has at this place
  std::map<std::string, std::unique_ptr<DraftNode>, std::less<>> children;  ///< those looked at or changed

  bool is_directory() const noexcept { return attributes.type == oci::FileType::directory; }
};

/// What a layer makes of a file tree, step by step, as calls on a mounted file system would: the tree below
/// is only read, the changes are collected and come out as the entries of a layer. Directories whose children
/// change get `now` as their time, like a kernel would do. Not thread-safe.
class DraftTree {
 public:
  DraftTree(const oci::FileTree& below, const Timestamp& now);
  DraftTree(const DraftTree&) = delete;
  DraftTree& operator=(const DraftTree&) = delete;

  DraftNode& root() noexcept { return *root_; }
  const oci::FileTree& below() const noexcept { return below_; }

  /// A place in the tree, symlinks resolved as in a chroot: `node` and the names below it that do not exist.
  struct Place {
    DraftNode* node;
    std::vector<std::string> missing;
    bool exists() const noexcept { return missing.empty(); }
  };
  /// `root` is taken for the root: nothing leads out of it. The way begins at `start`, below it, or at
  /// itself. Throws Error "too many links" (COPY-28).
  Place resolve(DraftNode& root, std::string_view path, bool follow_last = true, DraftNode* start = nullptr);

  /// The child `name` of a directory, or nullptr; links are not followed.
  DraftNode* find(DraftNode& directory, std::string_view name);

  /// Creates the missing directories of a place with `attributes`, whose time is replaced by now. Throws
  /// Error "mkdir /x: not a directory" if something else is in the way.
  DraftNode& make_directories(const Place& place, const oci::FileAttributes& attributes);

  /// Puts a new inode at `name`; whatever was there is gone, of a directory all that was below it too.
  /// Throws Error for a name that a layer cannot hold.
  DraftNode& put(DraftNode& directory, std::string_view name, oci::FileAttributes attributes);
  /// Gives an existing directory other attributes (its type stays).
  void set_attributes(DraftNode& directory, oci::FileAttributes attributes);
  void set_mtime(DraftNode& directory, const Timestamp& mtime);
  /// Takes a node of the tree below into the layer as it is.
  void mark_changed(DraftNode& node) noexcept { mark(node); }
  /// Makes `name` another name of the new file `target`.
  DraftNode& link(DraftNode& directory, std::string_view name, DraftNode& target);
  std::uint64_t new_link_group() noexcept { return ++last_link_group_; }

  /// "/a/b", for messages.
  static std::string path_of(const DraftNode& node);

  /// The entries of the layer in its order (LAY-32), parents included with their attributes (LAY-33). What
  /// came out as the tree below has it anyway is left out (LAY-38); of files that is known only where
  /// `content` is set.
  std::vector<oci::PendingEntry> take_layer();

 private:
  DraftNode& insert(DraftNode& directory, std::string_view name, oci::FileNodePtr lower);
  static void mark(DraftNode& node) noexcept;

  const oci::FileTree below_;
  std::unique_ptr<DraftNode> root_;
  Timestamp now_;
  std::uint64_t last_link_group_ = 0;
};

}  // namespace imgbuild::builder
