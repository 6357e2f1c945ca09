#include <unistd.h>

#include <cerrno>
#include <unordered_map>

#include "base/error.h"
#include "base/strings.h"
#include "oci/dir_stack.h"
#include "oci/layer_applier.h"
#include "oci/node_maker.h"

namespace imgbuild::oci {

namespace {

std::string_view parent_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}
std::string base_name(std::string_view path) { return std::string(path.substr(path.rfind('/') + 1)); }

bool is_device(FileType type) { return type == FileType::char_device || type == FileType::block_device; }

class TreeWriter {
 public:
  TreeWriter(int dir, const NodeOpener& open, const WriteTreeOptions& options)
      : open_(open),
        options_(options),
        parents_(dir),
        link_targets_(dir),
        metadata_({.keep_owner = options.keep_owner,
                   .write_xattrs = options.write_xattrs,
                   .force_mtime = options.force_mtime}),
        maker_(metadata_) {}

  /// `path` is where the node goes, `source` its name in the tree.
  void add(const std::string& path, const std::string& source, const FileNodePtr& node) {
    const FileAttributes& attributes = node->attributes;
    if (attributes.type == FileType::directory) {
      (void)parents_.enter(path);
      directories_.emplace_back(path, node);
      return;
    }
    if (is_device(attributes.type) && !options_.make_devices) {
      metadata_.warn(cat("the device \"", printable(source), "\" is left out"));
      return;
    }
    if (node->link_group != 0) {
      const auto [first, added] = first_names_.try_emplace(node->link_group, path);
      if (!added) return link(first->second, path);
    }
    const int parent = parents_.enter(parent_of(path));
    if (attributes.type != FileType::regular) {
      maker_.make_special(parent, base_name(path), attributes, path);
      return;
    }
    const auto content = attributes.size > 0 ? open_(source, *node) : nullptr;
    maker_.make_file(parent, base_name(path), attributes, path, [&](std::span<char> buffer) {
      return content ? content->read(buffer) : std::size_t{0};
    });
  }

  std::vector<std::string> finish(const FileNodePtr& root) {
    for (auto directory = directories_.rbegin(); directory != directories_.rend(); ++directory) {
      metadata_.write(parents_.enter(directory->first), directory->second->attributes, directory->first);
    }
    metadata_.write(parents_.enter(""), root->attributes, "/");
    return metadata_.warnings();
  }

 private:
  void link(const std::string& target, const std::string& path) {
    const int from = link_targets_.enter(parent_of(target));
    const int to = parents_.enter(parent_of(path));
    if (::linkat(from, base_name(target).c_str(), to, base_name(path).c_str(), 0) != 0) {
      throw SystemError(errno, "create hard link", path);
    }
  }

  const NodeOpener& open_;
  const WriteTreeOptions& options_;
  DirStack parents_;
  DirStack link_targets_;
  MetadataWriter metadata_;
  NodeMaker maker_;
  std::unordered_map<std::uint64_t, std::string> first_names_;  ///< of each link group
  std::vector<std::pair<std::string, FileNodePtr>> directories_;
};

}  // namespace

std::vector<std::string> write_tree(const FileTree& tree, std::string_view path, int dir,
                                    const NodeOpener& open, const WriteTreeOptions& options) {
  const FileNodePtr root = tree.find(path);
  if (!root || root->attributes.type != FileType::directory) {
    throw Error(cat("\"", printable(path), "\" is not a directory of the image"));
  }
  TreeWriter writer(dir, open, options);
  // The walk gives whole paths; ours start behind the part of it that becomes the root.
  std::optional<std::size_t> prefix;
  walk(tree, path, [&](const std::string& source, const FileNodePtr& node) {
    if (!prefix) prefix = source.rfind('/') + 1;  // the first one visited is a direct child
    writer.add(source.substr(*prefix), source, node);
    return true;
  });
  return writer.finish(root);
}

}  // namespace imgbuild::oci
