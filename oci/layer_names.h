#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/layer_entry.h"
#include "oci/layer_index.h"

namespace imgbuild::oci {

/// What has to happen where an entry goes.
enum class Placement : std::uint8_t {
  create,        ///< nothing of this layer is there
  replace_file,  ///< something that is no directory has to go first
  replace_tree,  ///< a directory and all below it have to go first
  update,        ///< a directory that stays and only changes its attributes
  mark,          ///< a whiteout or opaque marker: says something about lower layers only
  ignore,        ///< an entry for the root, which nobody applies (LAY-9)
};

/// A directory of a finished layer.
struct LayerDirectory {
  std::string path;                          ///< "" is the root
  std::optional<FileAttributes> attributes;  ///< nothing: the layer only implies it
  bool opaque = false;                       ///< hides the lower directory's content
  bool hidden_below = false;                 ///< nothing of the lower layers is visible at this path
  std::vector<std::string> whiteouts;        ///< names in it that hide lower ones and have no entry here
};

/// The names of one layer while it is read: makes of a sequence of members, as any tool may have written it,
/// the one meaning they have together (FS-22…28). Links to directories made earlier in the layer are
/// followed, inside the layer only; a later entry of the same name wins; whiteouts leave this layer's own
/// entries. Throws IntegrityError for entries below non-directories, link loops, and hard links to what is no
/// earlier file of the layer.
class LayerNames {
 public:
  /// More names than `max_names`, implied directories counted, are an error.
  explicit LayerNames(std::uint64_t max_names = 5'000'000);
  ~LayerNames();
  LayerNames(LayerNames&&) noexcept;
  LayerNames& operator=(LayerNames&&) noexcept;

  /// Adds the next entry; its path and hard link target become the real ones. The character device 0:0, which
  /// overlay file systems take for a deletion, becomes a whiteout (FS-25) and a warning.
  Placement add(LayerEntry& entry);

  /// All directories, parents first, in byte order. Call it before take_index().
  std::vector<LayerDirectory> directories() const;
  /// The surviving entries in the order they came, each path once (whiteouts apart).
  LayerIndex take_index();

  const std::vector<std::string>& warnings() const noexcept { return warnings_; }

 private:
  struct Name;
  struct Inode;

  Name& resolve_directory(std::string_view path);
  Name& parent_directory(std::string_view path);
  Name& child(Name& parent, std::string_view name);
  std::string real_path(std::string_view path) const;
  std::size_t keep(const LayerEntry& entry);
  Placement add_marker(LayerEntry& entry);
  Placement add_hard_link(LayerEntry& entry);
  Placement add_node(LayerEntry& entry);
  Placement place(Name& parent, LayerEntry& entry);
  void remove(Name& name);
  void remove_markers(const Name& directory);
  void hand_over(Inode& inode);
  void list(const Name& directory, const std::string& path, bool hidden,
            std::vector<LayerDirectory>& out) const;

  std::unique_ptr<Name> root_;
  std::vector<LayerEntry> entries_;
  std::vector<bool> dead_;
  std::uint64_t names_left_;
  // Members of one directory mostly come together, so the last way down is remembered.
  std::string last_parent_path_;  ///< as the archive writes it
  std::string last_parent_real_;
  Name* last_parent_ = nullptr;
  std::vector<std::string> warnings_;
};

}  // namespace imgbuild::oci
