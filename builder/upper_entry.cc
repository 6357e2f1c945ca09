#include "builder/upper_entry.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/strings.h"
#include "builder/tree_stamps.h"
#include "builder/whiteout.h"

namespace imgbuild::builder {

namespace {

using oci::FileAttributes;
using oci::FileNode;
using oci::FileType;
using oci::LayerEntry;

constexpr std::size_t kMaxPath = 4096;  // LAY-40

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

std::string link_target(int dir, const char* name, const std::string& path) {
  char target[4097];
  const ssize_t size = ::readlinkat(dir, name, target, sizeof target);
  if (size < 0) throw SystemError(errno, "read link", path);
  return {target, static_cast<std::size_t>(size)};
}

void set_attributes(const struct stat& info, FileAttributes& out) {
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
}

/// Who owns what belongs to root here only because nobody else exists.
void restore_owner(const std::string& noted, const struct stat& info, UpperNode& node) {
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

XattrReader reader_for(const DiffOptions& options) {
  if (options.whole) return XattrReader();
  return XattrReader(options.flavour, options.of_fuse ? UpperWriter::fuse_overlayfs : UpperWriter::kernel);
}

}  // namespace

void add_whiteout(std::string path, std::uint32_t depth, const FileNode* below, UpperFinds& out) {
  UpperNode& node = out.nodes.add();
  node.depth = depth;
  node.entry.kind = LayerEntry::Kind::whiteout;
  node.entry.path = std::move(path);
  node.below = below;
  node.changed = true;
  node.hides_below = true;
}

UpperEntryReader::UpperEntryReader(const std::shared_ptr<const RootDir>& upper, const DiffOptions& options,
                                   const TreeStamps* before)
    : upper_(upper), options_(options), before_(before), xattrs_(reader_for(options)), compare_(options) {}

std::optional<UpperInside> UpperEntryReader::read(const char* name, std::string path, const UpperPlace& place,
                                                  UpperFinds& out) {
  struct stat info {};
  if (::fstatat(place.dir, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
    throw SystemError(errno, "stat", printable(path));
  const bool is_directory = S_ISDIR(info.st_mode);
  const bool untouched = before_ != nullptr && place.below != nullptr && before_->unchanged(path, info);
  if (untouched && !is_directory) return std::nullopt;
  refuse_what_no_layer_holds(name, path, info);
  if (S_ISSOCK(info.st_mode) || is_whiteout(info)) {
    out.sockets.push_back(path);
    // What it replaced is gone all the same.
    if (place.below != nullptr) add_whiteout(std::move(path), place.depth, place.below, out);
    return std::nullopt;
  }
  UpperXattrs xattrs = untouched ? UpperXattrs{} : xattrs_.read(place.dir, name, path);
  if (xattrs.foreign_form)
    throw ForeignForm(
        cat(printable(path), " was moved or shortened by the file system in a way imgbuild does not use"));
  UniqueFd inside;
  if (is_directory) inside = open_at(place.dir, name, O_RDONLY | O_DIRECTORY);
  if (options_.of_fuse) take_fuse_marks(path, info, place.below, inside.get(), xattrs, out);

  const bool directory_below = place.below != nullptr && place.below->attributes.type == FileType::directory;
  const bool hides = !is_directory || xattrs.opaque || place.parent_hides || !directory_below;
  UpperNode& node = out.nodes.add();
  node.depth = place.depth;
  node.entry.path = std::move(path);
  node.below = place.below;
  // In a whole tree every directory lists all there is, so nothing shows through, and still the others of
  // its names are there.
  node.hides_below = options_.whole ? !is_directory || !directory_below : hides;
  if (untouched) {
    node.entry.attributes = place.below->attributes;
  } else {
    set_attributes(info, node.entry.attributes);
    node.entry.attributes.xattrs = std::move(xattrs.exported);
    if (S_ISLNK(info.st_mode))
      node.entry.attributes.link_target = link_target(place.dir, name, node.entry.path);
    if (options_.noted_owners) restore_owner(xattrs.owner, info, node);
    node.changed = !compare_.same(place.dir, name, node);
    if (node.changed && oci::has_bytes(node.entry)) node.open = upper_opener(upper_, node.entry.path);
  }
  if (!is_directory) {
    node.linked = info.st_nlink > 1;
    node.device = info.st_dev;
    node.inode = info.st_ino;
    return std::nullopt;
  }
  return UpperInside{std::move(inside), directory_below ? place.below : nullptr, hides};
}

/// `inside`: the directory itself, -1 for anything else.
void UpperEntryReader::take_fuse_marks(const std::string& path, const struct stat& info,
                                       const FileNode* below, int inside, UpperXattrs& xattrs,
                                       UpperFinds& out) const {
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
  out.fuse_marks.push_back({.path = path,
                            .opaque = xattrs.opaque,
                            .attributes = std::move(xattrs.strangers),
                            .helpers = {},
                            .whiteouts = {}});
}

void UpperEntryReader::refuse_what_no_layer_holds(const char* name, const std::string& path,
                                                  const struct stat& info) const {
  if (std::string_view(name).starts_with(".wh.")) {
    throw Error(cat(printable(path),
                    ": a layer cannot hold a file whose name starts with .wh.: it would delete another one"));
  }
  if (path.size() > kMaxPath)
    throw Error(cat("a path is longer than ", kMaxPath, " bytes: ", printable(path.substr(0, 80)), "…"));
  if (S_ISREG(info.st_mode) && static_cast<std::uint64_t>(info.st_size) > options_.max_file_size) {
    throw Error(cat(printable(path), " has a size of ", human_size(static_cast<std::uint64_t>(info.st_size)),
                    ", more than a file of a layer may have (", human_size(options_.max_file_size), ")"))
        .with_note("a sparse file such as /var/log/lastlog counts with its full length");
  }
}

}  // namespace imgbuild::builder
