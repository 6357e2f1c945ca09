#include "builder/upper_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"
#include "builder/overlay_xattr.h"
#include "builder/tree_stamps.h"

namespace imgbuild::builder {

namespace {

using oci::FileAttributes;
using oci::FileNode;
using oci::FileType;
using oci::LayerEntry;

constexpr std::size_t kMaxPath = 4096;  // LAY-40

bool is_whiteout(const struct stat& info) { return S_ISCHR(info.st_mode) && info.st_rdev == makedev(0, 0); }

std::vector<std::string> sorted_names(int dir, const std::string& path) {
  UniqueFd copy(::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* stream = copy ? ::fdopendir(copy.get()) : nullptr;
  if (stream == nullptr) throw SystemError(errno, "read directory", path);
  static_cast<void>(copy.release());
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* item = ::readdir(stream)) {
    if (std::strcmp(item->d_name, ".") != 0 && std::strcmp(item->d_name, "..") != 0)
      names.emplace_back(item->d_name);
  }
  const int error_number = errno;
  ::closedir(stream);
  if (error_number != 0) throw SystemError(error_number, "read directory", path);
  std::sort(names.begin(), names.end());
  return names;
}

FileType type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return FileType::directory;
    case S_IFLNK:
      return FileType::symlink;
    case S_IFCHR:
      return FileType::char_device;
    case S_IFBLK:
      return FileType::block_device;
    case S_IFIFO:
      return FileType::fifo;
    default:
      return FileType::regular;
  }
}

std::string link_target(int dir, const std::string& name, const std::string& path) {
  char target[4097];
  const ssize_t size = ::readlinkat(dir, name.c_str(), target, sizeof target);
  if (size < 0) throw SystemError(errno, "read link", path);
  return {target, static_cast<std::size_t>(size)};
}

FileAttributes attributes_of(const struct stat& info) {
  FileAttributes out;
  out.type = type_of(info.st_mode);
  out.mode = info.st_mode & 07777;
  out.uid = info.st_uid;
  out.gid = info.st_gid;
  out.mtime = {info.st_mtim.tv_sec, static_cast<std::uint32_t>(info.st_mtim.tv_nsec)};
  if (out.type == FileType::regular) out.size = static_cast<std::uint64_t>(info.st_size);
  if (out.type == FileType::char_device || out.type == FileType::block_device) {
    out.device_major = major(info.st_rdev);
    out.device_minor = minor(info.st_rdev);
  }
  return out;
}

bool same_xattrs(const FileAttributes& a, const FileAttributes& b) {
  // The lower tree may know attributes that a diff never records.
  const auto next = [](auto it, auto end) {
    return std::find_if(it, end, [](const auto& x) { return is_exported_xattr(x.first); });
  };
  auto left = next(a.xattrs.begin(), a.xattrs.end()), right = next(b.xattrs.begin(), b.xattrs.end());
  while (left != a.xattrs.end() && right != b.xattrs.end()) {
    if (*left != *right) return false;
    left = next(std::next(left), a.xattrs.end());
    right = next(std::next(right), b.xattrs.end());
  }
  return left == a.xattrs.end() && right == b.xattrs.end();
}

bool same_metadata(const FileAttributes& a, const FileAttributes& b) {
  return a.type == b.type && (a.mode == b.mode || a.type == FileType::symlink) && a.uid == b.uid &&
         a.gid == b.gid && a.device_major == b.device_major && a.device_minor == b.device_minor &&
         a.size == b.size && a.link_target == b.link_target && same_xattrs(a, b);
}

std::size_t read_fully(int fd, char* out, std::size_t size, const std::string& path) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(fd, out + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw SystemError(errno, "read", path);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

bool same_bytes(int a, int b, const std::string& path) {
  constexpr std::size_t kChunk = 128 * 1024;
  std::vector<char> left(kChunk), right(kChunk);
  for (;;) {
    const std::size_t in_left = read_fully(a, left.data(), kChunk, path),
                      in_right = read_fully(b, right.data(), kChunk, path);
    if (in_left != in_right || std::memcmp(left.data(), right.data(), in_left) != 0) return false;
    if (in_left < kChunk) return true;
  }
}

class Walker {
 public:
  explicit Walker(const DiffOptions& options)
      : options_(options),
        before_(options.whole && options.whole->before != nullptr && options.whole->before->clock_held()
                    ? options.whole->before
                    : nullptr),
        xattrs_(options.whole ? XattrReader()
                              : XattrReader(options.flavour, options.of_fuse ? UpperWriter::fuse_overlayfs
                                                                             : UpperWriter::kernel)) {}

  void directory(int dir, const std::string& path, std::size_t index, const FileNode* below,
                 bool hides_below) {
    auto names = sorted_names(dir, path);
    std::vector<struct stat> infos(names.size());
    for (std::size_t i = 0; i < names.size(); ++i)
      if (::fstatat(dir, names[i].c_str(), &infos[i], AT_SYMLINK_NOFOLLOW) != 0)
        throw SystemError(errno, "stat", cat(path, names[i]));
    if (options_.of_fuse) take_fuse_names(path, names, infos);
    whiteouts(path, index, names, infos, below, hides_below);
    for (std::size_t i = 0; i < names.size(); ++i) {
      const FileNode* child_below = child_of(below, names[i]);
      if (options_.whole && options_.whole->after != nullptr)
        options_.whole->after->add(path + names[i], infos[i]);
      const bool untouched =
          before_ != nullptr && child_below != nullptr && before_->unchanged(path + names[i], infos[i]);
      if (untouched && !S_ISDIR(infos[i].st_mode)) continue;
      if (is_whiteout(infos[i]) && !options_.whole) continue;
      child(dir, path, names[i], infos[i], index, child_below, hides_below, untouched);
    }
  }

  UpperWalk take() { return std::move(walk_); }

 private:
  static const FileNode* child_of(const FileNode* directory, const std::string& name) {
    if (directory == nullptr) return nullptr;
    const auto found = directory->children.find(name);
    return found == directory->children.end() ? nullptr : found->second.get();
  }

  /// Directly after their directory (LAY-29), and only for what is there to be hidden (LAY-28).
  void whiteouts(const std::string& path, std::size_t index, const std::vector<std::string>& names,
                 const std::vector<struct stat>& infos, const FileNode* below, bool hides_below) {
    if (below == nullptr) return;
    if (hides_below) {
      for (const auto& [name, node] : below->children) {
        const auto at = std::lower_bound(names.begin(), names.end(), name);
        const bool present =
            at != names.end() && *at == name &&
            (options_.whole || !is_whiteout(infos[static_cast<std::size_t>(at - names.begin())]));
        if (!present) add_whiteout(path + name, index, node.get());
      }
      return;
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (!is_whiteout(infos[i])) continue;
      if (const FileNode* gone = child_of(below, names[i])) add_whiteout(path + names[i], index, gone);
    }
  }

  void add_whiteout(std::string path, std::size_t parent, const FileNode* below) {
    UpperNode node;
    node.parent = parent;
    node.entry.kind = LayerEntry::Kind::whiteout;
    node.entry.path = std::move(path);
    node.below = below;
    node.changed = true;
    node.hides_below = true;
    walk_.nodes.push_back(std::move(node));
  }

  void child(int dir, const std::string& parent_path, const std::string& name, const struct stat& info,
             std::size_t parent, const FileNode* below, bool parent_hides, bool untouched) {
    std::string path = parent_path + name;
    refuse_what_no_layer_holds(name, path, info);
    if (S_ISSOCK(info.st_mode) || is_whiteout(info)) {
      walk_.sockets.push_back(std::move(path));
      // What it replaced is gone all the same.
      if (below != nullptr) add_whiteout(parent_path + name, parent, below);
      return;
    }
    UpperXattrs xattrs = untouched ? UpperXattrs{} : xattrs_.read(dir, name, path);
    if (xattrs.foreign_form)
      throw ForeignForm(
          cat(printable(path), " was moved or shortened by the file system in a way imgbuild does not use"));
    const bool is_directory = S_ISDIR(info.st_mode);
    UniqueFd inside;
    if (is_directory) inside = open_at(dir, name, O_RDONLY | O_DIRECTORY);
    if (options_.of_fuse) take_fuse_marks(path, info, below, is_directory ? inside.get() : -1, xattrs);
    UpperNode node;
    node.parent = parent;
    node.entry.path = path;
    node.entry.attributes = attributes_of(info);
    node.entry.attributes.xattrs = std::move(xattrs.exported);
    if (S_ISLNK(info.st_mode)) node.entry.attributes.link_target = link_target(dir, name, path);
    node.below = below;
    const bool directory_below = below != nullptr && below->attributes.type == FileType::directory;
    const bool hides = !is_directory || xattrs.opaque || parent_hides || !directory_below;
    // In a whole tree every directory lists all there is, so nothing shows through, and still the others of
    // its names are there.
    node.hides_below = options_.whole ? !is_directory || !directory_below : hides;
    if (untouched) {
      node.entry.attributes = below->attributes;
    } else {
      if (options_.noted_owners) restore_owner(xattrs.owner, info, node);
      node.changed = !same(dir, name, node);
    }
    if (!is_directory && info.st_nlink > 1) {
      node.linked = true;
      node.device = info.st_dev;
      node.inode = info.st_ino;
    }
    const std::size_t index = walk_.nodes.size();
    walk_.nodes.push_back(std::move(node));
    if (!is_directory) return;
    directory(inside.get(), path + '/', index, directory_below ? below : nullptr, hides);
  }

  /// Helper names are no content; names that stand for deletions become what the kernel makes of one.
  void take_fuse_names(const std::string& path, std::vector<std::string>& names,
                       std::vector<struct stat>& infos) {
    if (std::none_of(names.begin(), names.end(), [](const auto& name) { return name.starts_with(".wh."); }))
      return;
    std::vector<std::pair<std::string, struct stat>> kept;
    FuseMarks marks{.path = path.empty() ? path : path.substr(0, path.size() - 1)};
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto meaning = fuse_name(names[i], infos[i]);
      if (meaning == FuseName::content) {
        kept.emplace_back(std::move(names[i]), infos[i]);
        continue;
      }
      if (meaning == FuseName::whiteout) {
        std::string gone = names[i].substr(kFusePrefix.size());
        if (!std::binary_search(names.begin(), names.end(), gone)) {
          struct stat whiteout {};
          whiteout.st_mode = S_IFCHR;
          kept.emplace_back(gone, whiteout);
          marks.whiteouts.push_back(std::move(gone));
        }
      }
      marks.helpers.push_back(std::move(names[i]));
    }
    std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    names.clear();
    infos.clear();
    for (auto& [name, info] : kept) {
      names.push_back(std::move(name));
      infos.push_back(info);
    }
    if (!marks.helpers.empty()) walk_.fuse_marks.push_back(std::move(marks));
  }

  /// `inside`: the directory itself, -1 for anything else.
  void take_fuse_marks(const std::string& path, const struct stat& info, const FileNode* below, int inside,
                       UpperXattrs& xattrs) {
    if (inside >= 0) xattrs.opaque = xattrs.opaque || has_fuse_opaque_name(inside);
    const auto is_special = [&](FileType type) {
      return type == FileType::fifo || (options_.flavour == oci::OverlayFlavour::trusted &&
                                        (type == FileType::char_device || type == FileType::block_device));
    };
    const bool copied = std::find(xattrs.strangers.begin(), xattrs.strangers.end(),
                                  "user.fuseoverlayfs.origin") != xattrs.strangers.end();
    if (copied && S_ISREG(info.st_mode) && below != nullptr && is_special(below->attributes.type)) {
      throw UnsupportedError(cat("fuse-overlayfs made a file of ", printable(path),
                                 ", a pipe or device of the image that the command wanted to change"))
          .with_note("--snapshotter=copy can do this");
    }
    if (!xattrs.opaque && xattrs.strangers.empty()) return;
    walk_.fuse_marks.push_back({.path = path,
                                .opaque = xattrs.opaque,
                                .attributes = std::move(xattrs.strangers),
                                .helpers = {},
                                .whiteouts = {}});
  }

  void refuse_what_no_layer_holds(const std::string& name, const std::string& path,
                                  const struct stat& info) const {
    if (name.starts_with(".wh.")) {
      throw Error(
          cat(printable(path),
              ": a layer cannot hold a file whose name starts with .wh.: it would delete another one"));
    }
    if (path.size() > kMaxPath)
      throw Error(cat("a path is longer than ", kMaxPath, " bytes: ", printable(path.substr(0, 80)), "…"));
    if (S_ISREG(info.st_mode) && static_cast<std::uint64_t>(info.st_size) > options_.max_file_size) {
      throw Error(cat(printable(path), " has a size of ",
                      human_size(static_cast<std::uint64_t>(info.st_size)),
                      ", more than a file of a layer may have (", human_size(options_.max_file_size), ")"))
          .with_note("a sparse file such as /var/log/lastlog counts with its full length");
    }
  }

  /// Who owns what belongs to root here only because nobody else exists.
  void restore_owner(const std::string& noted, const struct stat& info, UpperNode& node) const {
    FileAttributes& here = node.entry.attributes;
    const auto colon = noted.find(':');
    if (colon != std::string::npos) {
      const auto uid = parse_decimal(noted.substr(0, colon)), gid = parse_decimal(noted.substr(colon + 1));
      if (!uid || !gid || *uid > 0xfffffffeu || *gid > 0xfffffffeu) return;  // a command wrote that
      here.uid = static_cast<std::uint32_t>(*uid);
      here.gid = static_cast<std::uint32_t>(*gid);
      return;
    }
    // Links and special files carry no notes.
    if (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode) || node.below == nullptr) return;
    const FileAttributes& there = node.below->attributes;
    if (there.type != here.type || there.link_target != here.link_target) return;
    here.uid = there.uid;
    here.gid = there.gid;
  }

  /// An ordinary user cannot make devices, so an extracted layer has an empty file in the place of one;
  /// changing what is beside it may bring a copy of that file up here.
  bool is_placeholder(const FileAttributes& here, const FileAttributes& there) const {
    if (options_.flavour != oci::OverlayFlavour::user || here.type != FileType::regular || here.size != 0)
      return false;
    if (there.type != FileType::char_device && there.type != FileType::block_device) return false;
    FileAttributes as_device = here;
    as_device.type = there.type;
    as_device.device_major = there.device_major;
    as_device.device_minor = there.device_minor;
    return same_metadata(as_device, there);
  }

  /// OVL-21. A copy the kernel made before a change that did not come has the times of the original.
  bool same(int dir, const std::string& name, const UpperNode& node) const {
    if (node.below == nullptr) return false;
    const FileAttributes& here = node.entry.attributes;
    const FileAttributes& there = node.below->attributes;
    if (is_placeholder(here, there)) return here.mtime.seconds == there.mtime.seconds;
    if (!same_metadata(here, there)) return false;
    if (here.type == FileType::directory) return true;
    const bool clamped = options_.clamp_mtime && here.mtime.seconds > *options_.clamp_mtime &&
                         there.mtime.seconds == *options_.clamp_mtime;
    if (!clamped && here.mtime.seconds != there.mtime.seconds) return false;
    // A command can set any time, down to the nanosecond: only the bytes tell (ATK-73).
    if (here.type != FileType::regular || here.size == 0) return true;
    if (!node.below->origin || !options_.open_lower) return false;
    const UniqueFd lower = options_.open_lower(*node.below->origin);
    const UniqueFd upper = open_at(dir, name, O_RDONLY | O_NONBLOCK);
    return lower && same_bytes(upper.get(), lower.get(), node.entry.path);
  }

  const DiffOptions& options_;
  const TreeStamps* before_;  ///< where they can be trusted
  XattrReader xattrs_;
  UpperWalk walk_;
};

}  // namespace

UpperWalk walk_upper(int upper, const oci::FileTree& lower, const DiffOptions& options) {
  Walker walker(options);
  walker.directory(upper, "", UpperNode::kRoot, lower.root().get(), options.whole.has_value());
  return walker.take();
}

}  // namespace imgbuild::builder
