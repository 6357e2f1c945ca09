#include "oci/layer_applier.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "oci/dir_stack.h"
#include "oci/layer_path.h"
#include "oci/layer_reader.h"
#include "oci/node_maker.h"

namespace imgbuild::oci {

namespace {

class Applier {
 public:
  Applier(int dir, const FileTree& lower, const ApplyOptions& options)
      : lower_(lower),
        options_(options),
        parents_(dir),
        link_targets_(dir),
        metadata_({.keep_owner = options.keep_owner && !options.content_only,
                   .write_xattrs = !options.content_only,
                   .record_owner = options.record_owner,
                   .flavour = options.flavour}),
        maker_(metadata_) {}

  void add(const LayerEntry& entry, Placement placement, TarReader& reader, const TarMember& member) {
    if (placement == Placement::mark || placement == Placement::ignore) return;
    if (options_.content_only) return add_content(entry, placement, reader, member);
    const int parent = parents_.enter(parent_of(entry.path));
    const std::string name(base_name(entry.path));
    if (placement == Placement::replace_file) remove_file(parent, name, entry.path);
    if (placement == Placement::replace_tree) {
      remove_tree_at(parent, name);
      link_targets_.forget();
    }
    if (entry.kind == LayerEntry::Kind::hard_link) {
      add_hard_link(entry);
    } else if (entry.attributes.type == FileType::directory) {
      if (placement != Placement::update) ensure_dir_at(parent, name, 0700);  // its attributes come last
    } else if (entry.attributes.type == FileType::regular) {
      add_file(parent, name, entry, reader, member);
    } else if (is_device(entry.attributes.type) && !options_.make_devices) {
      add_placeholder(parent, name, entry);
    } else {
      maker_.make_special(parent, name, entry.attributes, entry.path);
    }
  }

  /// Markers and the attributes of directories, deepest first: nothing is made in them any more.
  void finish(const std::vector<LayerDirectory>& directories) {
    if (options_.content_only) return;
    for (auto directory = directories.rbegin(); directory != directories.rend(); ++directory) {
      const FileNodePtr below = lower_.find(directory->path);
      const bool over_directory = below && below->attributes.type == FileType::directory;
      if (directory->path.empty()) {
        finish_root(*directory, *below);
        continue;
      }
      const int fd = parents_.enter(directory->path);
      if (directory->opaque) {
        if (over_directory) metadata_.mark_opaque(fd, directory->path);
      } else if (over_directory && !directory->hidden_below) {
        add_whiteouts(fd, *directory, *below);
      }
      metadata_.write(fd, attributes_of(*directory), directory->path);
    }
  }

  AppliedLayer result(LayerNames& names) {
    AppliedLayer applied{.placeholders = std::move(placeholders_), .warnings = names.warnings()};
    applied.warnings.insert(applied.warnings.end(), metadata_.warnings().begin(), metadata_.warnings().end());
    applied.index = names.take_index();
    return applied;
  }

 private:
  /// Names that hold no bytes are not there, so what is to be replaced may be missing.
  void add_content(const LayerEntry& entry, Placement placement, TarReader& reader, const TarMember& member) {
    const bool replaces = placement == Placement::replace_file || placement == Placement::replace_tree;
    if (!replaces && !has_bytes(entry)) return;
    const int parent = parents_.enter(parent_of(entry.path));
    const std::string name(base_name(entry.path));
    if (replaces) remove_tree_at(parent, name);
    if (!has_bytes(entry)) return parents_.forget();
    LayerEntry bytes_only = entry;
    bytes_only.attributes.mode = 0400;
    add_file(parent, name, bytes_only, reader, member);
    if (replaces) parents_.forget();
  }

  static void remove_file(int parent, const std::string& name, const std::string& path) {
    if (::unlinkat(parent, name.c_str(), 0) != 0) throw SystemError(errno, "remove", path);
  }

  void add_file(int parent, const std::string& name, const LayerEntry& entry, TarReader& reader,
                const TarMember& member) {
    const auto read = [&](std::span<char> buffer) { return reader.read_stored(buffer); };
    maker_.make_file(parent, name, entry.attributes, entry.path, read,
                     member.sparse ? &member.extents : nullptr);
  }

  void add_hard_link(const LayerEntry& entry) {
    // Two directories at once: the way to the target has its own stack.
    const int target_parent = link_targets_.enter(parent_of(entry.hard_link_target));
    const int parent = parents_.enter(parent_of(entry.path));
    if (::linkat(target_parent, std::string(base_name(entry.hard_link_target)).c_str(), parent,
                 std::string(base_name(entry.path)).c_str(), 0) != 0) {
      throw SystemError(errno, "create hard link", entry.path);
    }
  }

  void add_placeholder(int parent, const std::string& name, const LayerEntry& entry) {
    FileAttributes attributes = entry.attributes;
    attributes.type = FileType::regular;
    attributes.size = 0;
    maker_.make_file(parent, name, attributes, entry.path, [](std::span<char>) { return std::size_t{0}; });
    placeholders_.push_back(entry.path);
  }

  static void add_whiteout(int fd, const std::string& name, const std::string& path) {
    if (::mknodat(fd, name.c_str(), S_IFCHR, makedev(0, 0)) != 0)
      throw SystemError(errno, "create whiteout", path);
  }

  static void add_whiteouts(int fd, const LayerDirectory& directory, const FileNode& below) {
    for (const auto& name : directory.whiteouts) {
      if (below.children.contains(name)) add_whiteout(fd, name, cat(directory.path, "/", name));
    }
  }

  /// The root of an overlay is always merged, so an opaque root hides every lower name by itself.
  void finish_root(const LayerDirectory& root, const FileNode& below) {
    if (!root.opaque) return add_whiteouts(parents_.enter(""), root, below);
    for (const auto& [name, node] : below.children) {
      const int fd = parents_.enter("");
      struct stat info {};
      if (::fstatat(fd, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT) throw SystemError(errno, "stat", name);
        add_whiteout(fd, name, name);
      } else if (S_ISDIR(info.st_mode) && node->attributes.type == FileType::directory) {
        metadata_.mark_opaque(parents_.enter(name), name);
      }
    }
  }

  FileAttributes attributes_of(const LayerDirectory& directory) const {
    if (directory.attributes) return *directory.attributes;
    const FileNodePtr below = directory.hidden_below ? nullptr : lower_.find(directory.path);
    if (below && below->attributes.type == FileType::directory) return below->attributes;
    FileAttributes fresh;
    fresh.type = FileType::directory;
    fresh.mode = 0755;
    return fresh;
  }

  const FileTree& lower_;
  const ApplyOptions& options_;
  DirStack parents_;
  DirStack link_targets_;
  MetadataWriter metadata_;
  NodeMaker maker_;
  std::vector<std::string> placeholders_;
};

}  // namespace

AppliedLayer apply_layer(Source& plain_tar, int dir, const FileTree& lower, const ApplyOptions& options) {
  Applier applier(dir, lower, options);
  LayerNames names = read_layer(
      plain_tar,
      [&](const LayerEntry& entry, Placement placement, TarReader& reader, const TarMember& member) {
        applier.add(entry, placement, reader, member);
      },
      options.limits);
  applier.finish(names.directories());
  return applier.result(names);
}

AppliedLayer apply_layer(const BlobStore& store, const LayerBlob& layer, int dir, const FileTree& lower,
                         const ApplyOptions& options) try {
  const auto plain = open_layer(store, layer);
  return apply_layer(*plain, dir, lower, options);
} catch (Error& error) {
  error.add_context(cat("unpacking layer ", layer.blob.digest.str()));
  throw;
}

}  // namespace imgbuild::oci
