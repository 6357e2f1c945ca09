#include "builder/tree_copy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include "base/error.h"
#include "base/stream.h"
#include "base/strings.h"
#include "base/unique_fd.h"

namespace imgbuild::builder {

namespace {

using oci::FileType;

std::string below(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

std::string base_name(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

/// Visits `path` and everything below, parents first, with the path relative to it.
template <typename Visit>
void visit_all(SourceTree& tree, const std::string& path, const SourceNode& top, const Visit& visit) {
  struct Item {
    std::string relative;
    SourceNode node;
  };
  std::vector<Item> open{{"", top}};
  while (!open.empty()) {
    const Item item = std::move(open.back());
    open.pop_back();
    visit(item.relative, item.node);
    if (item.node.attributes.type != FileType::directory) continue;
    const auto children = tree.list(item.relative.empty() ? path : below(path, item.relative));
    for (std::size_t i = children.size(); i-- > 0;)
      open.push_back({below(item.relative, children[i].first), children[i].second});
  }
}

SourceNode need(SourceTree& tree, const std::string& path) {
  auto node = tree.find(path);
  if (!node) throw Error(cat("\"/", printable(path), "\" not found"));
  return std::move(*node);
}

class SubtreeWriter {
 public:
  /// `single_file`: `path` is no directory, and the only name written is its base name.
  SubtreeWriter(SourceTree& tree, std::string path, int directory, bool single_file,
                const WriteOptions& options)
      : tree_(tree), path_(std::move(path)), root_(directory), single_file_(single_file), options_(options) {}

  void write(const std::string& relative, const SourceNode& node) {
    const auto& attributes = node.attributes;
    const std::string name = base_name(relative);
    const int parent = directory_of(relative);
    if (options_.replace && attributes.type != FileType::directory) remove_old(parent, name);
    switch (attributes.type) {
      case FileType::directory:
        make_directory(relative, parent, name);
        open_.emplace_back(relative, open_at(parent, name, O_RDONLY | O_DIRECTORY));
        late_.emplace_back(relative, attributes);
        return;
      case FileType::symlink:
        if (::symlinkat(attributes.link_target.c_str(), parent, name.c_str()) != 0) {
          throw SystemError(errno, "create link", relative);
        }
        break;
      case FileType::fifo:
        if (::mkfifoat(parent, name.c_str(), 0600) != 0) throw SystemError(errno, "create FIFO", relative);
        break;
      case FileType::regular:
        if (!link_to_earlier(relative, node, parent, name)) write_file(relative, parent, name);
        break;
      default:
        if (!options_.on_skipped)
          throw Error(cat("\"", printable(relative), "\" is a device; it cannot be written here"));
        options_.on_skipped(relative);
        return;
    }
    set_attributes(parent, name, attributes);
  }

  void set_root(const oci::FileAttributes& attributes) const { set_attributes(root_, ".", attributes); }

  /// Directories get their attributes last: writing into them changes their times.
  void finish() {
    for (auto entry = late_.rbegin(); entry != late_.rend(); ++entry) {
      open_.clear();
      set_attributes(directory_of(entry->first), base_name(entry->first), entry->second);
    }
  }

 private:
  int directory_of(const std::string& relative) {
    const auto slash = relative.rfind('/');
    if (slash == std::string::npos) return root_;
    const std::string parent = relative.substr(0, slash);
    while (!open_.empty() && parent != open_.back().first && !parent.starts_with(open_.back().first + "/")) {
      open_.pop_back();
    }
    if (!open_.empty() && open_.back().first == parent) return open_.back().second.get();
    UniqueFd at;
    std::string walked;
    for (const auto part : split(parent, '/')) {
      walked = below(walked, std::string(part));
      at = open_at(at ? at.get() : root_, std::string(part), O_RDONLY | O_DIRECTORY);
    }
    open_.emplace_back(parent, std::move(at));
    return open_.back().second.get();
  }

  bool link_to_earlier(const std::string& relative, const SourceNode& node, int parent,
                       const std::string& name) {
    if (node.link_group == 0) return false;
    const auto [known, fresh] = links_.emplace(node.link_key(), relative);
    if (fresh) return false;
    UniqueFd first_dir;
    const int from = parent_of_known(known->second, first_dir);
    if (::linkat(from, base_name(known->second).c_str(), parent, name.c_str(), 0) != 0) {
      throw SystemError(errno, "link", relative);
    }
    return true;
  }

  int parent_of_known(const std::string& relative, UniqueFd& holder) {
    for (const auto part :
         split(relative.substr(0, relative.rfind('/') == std::string::npos ? 0 : relative.rfind('/')), '/')) {
      if (!part.empty())
        holder = open_at(holder ? holder.get() : root_, std::string(part), O_RDONLY | O_DIRECTORY);
    }
    return holder ? holder.get() : root_;
  }

  void write_file(const std::string& relative, int parent, const std::string& name) {
    FileSink sink(open_at(parent, name, O_WRONLY | O_CREAT | O_EXCL, 0600), relative);
    const auto source = tree_.open(single_file_ ? path_ : below(path_, relative))();
    copy(*source, sink);
  }

  void make_directory(const std::string& relative, int parent, const std::string& name) {
    if (::mkdirat(parent, name.c_str(), 0700) == 0) return;
    struct stat there {};
    const bool is_directory = errno == EEXIST &&
                              ::fstatat(parent, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
                              S_ISDIR(there.st_mode);
    if (!options_.replace || !is_directory) throw SystemError(EEXIST, "create directory", relative);
  }

  static void remove_old(int parent, const std::string& name) {
    if (::unlinkat(parent, name.c_str(), 0) != 0 && errno != ENOENT)
      throw SystemError(errno, "replace", name);
  }

  void set_attributes(int parent, const std::string& name, const oci::FileAttributes& attributes) const {
    if (options_.set_owner &&
        ::fchownat(parent, name.c_str(), attributes.uid, attributes.gid, AT_SYMLINK_NOFOLLOW) != 0) {
      throw SystemError(errno, cat("change the owner to ", attributes.uid, ":", attributes.gid, " of"), name);
    }
    if (attributes.type != FileType::symlink && ::fchmodat(parent, name.c_str(), attributes.mode, 0) != 0) {
      throw SystemError(errno, "change the mode of", name);
    }
    const Timestamp mtime = options_.time.value_or(attributes.mtime);
    const timespec time{mtime.seconds, static_cast<long>(mtime.nanoseconds)};
    const timespec times[2] = {time, time};
    if (::utimensat(parent, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
      throw SystemError(errno, "set the times of", name);
    }
  }

  SourceTree& tree_;
  std::string path_;
  int root_;
  bool single_file_;
  const WriteOptions& options_;
  std::vector<std::pair<std::string, UniqueFd>> open_;
  std::vector<std::pair<std::string, oci::FileAttributes>> late_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::string> links_;
};

}  // namespace

Digest subtree_digest(SourceTree& tree, const std::string& path) {
  const SourceNode top = need(tree, path);
  std::vector<std::string> files;
  visit_all(tree, path, top, [&](const std::string& relative, const SourceNode& node) {
    if (node.attributes.type == FileType::regular)
      files.push_back(relative.empty() ? path : below(path, relative));
  });
  tree.prefetch_digests(files);

  Sha256 hash;
  hash.update("subtree-v1");
  const auto field = [&hash](std::string_view text) { hash.update(cat(text.size(), ":", text)); };
  visit_all(tree, path, top, [&](const std::string& relative, const SourceNode& node) {
    const auto& attributes = node.attributes;
    field(relative);
    field(cat(static_cast<int>(attributes.type), " ", attributes.mode, " ", attributes.uid, " ",
              attributes.gid, " ", attributes.type == FileType::regular ? attributes.size : 0, " ",
              attributes.device_major, " ", attributes.device_minor));
    field(attributes.link_target);
    for (const auto& [name, value] : attributes.xattrs) {
      field(name);
      field(value);
    }
    if (attributes.type == FileType::regular) {
      field(tree.content_digest(relative.empty() ? path : below(path, relative)).str());
    }
  });
  return hash.finish();
}

void write_subtree(SourceTree& tree, const std::string& path, int directory, const WriteOptions& options) {
  const SourceNode top = need(tree, path);
  const bool single_file = top.attributes.type != FileType::directory;
  SubtreeWriter writer(tree, path, directory, single_file, options);
  if (single_file) {
    writer.write(base_name(path), top);
    return;
  }
  visit_all(tree, path, top, [&](const std::string& relative, const SourceNode& node) {
    if (!relative.empty()) writer.write(relative, node);
  });
  writer.finish();
  if (options.set_root) writer.set_root(top.attributes);
}

}  // namespace imgbuild::builder
