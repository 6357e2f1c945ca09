#include "builder/lower_merge.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/dir_list.h"
#include "base/error.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "builder/whiteout.h"

namespace imgbuild::builder {

namespace {

std::optional<struct stat> look(int dir, const std::string& name) {
  struct stat info {};
  if (::fstatat(dir, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) return info;
  if (errno == ENOENT) return std::nullopt;
  throw SystemError(errno, "stat", printable(name));
}

std::vector<std::string> xattrs_of(int fd) {
  std::vector<char> names(4096);
  for (;;) {
    const ssize_t size = ::flistxattr(fd, names.data(), names.size());
    if (size < 0 && errno == ERANGE) {
      names.resize(names.size() * 2);
      continue;
    }
    if (size < 0 && errno != EOPNOTSUPP)
      throw SystemError(errno, "list attributes of", "a layer's directory");
    std::vector<std::string> out;
    for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(out.back().size()) + 1)
      out.emplace_back(names.data() + at);
    return out;
  }
}

std::string xattr_of(int fd, const std::string& name) {
  std::string value(256, '\0');
  for (;;) {
    const ssize_t size = ::fgetxattr(fd, name.c_str(), value.data(), value.size());
    if (size >= 0) {
      value.resize(static_cast<std::size_t>(size));
      return value;
    }
    if (errno == ENODATA) return {};
    if (errno != ERANGE) throw SystemError(errno, cat("read attribute ", name, " of"), "a layer's directory");
    value.resize(value.size() * 2);
  }
}

class Merger {
 public:
  explicit Merger(oci::OverlayFlavour flavour)
      : prefix_(flavour == oci::OverlayFlavour::trusted ? "trusted.overlay." : "user.overlay."),
        opaque_(prefix_ + "opaque") {}

  /// `below`: the directory under this one, null when there is none or it is hidden.
  void directory(int from, int into, const oci::FileNode* below) {
    std::vector<std::string> names;
    list_dir(from, [&](const DirEntry& entry) { names.push_back(entry.name); });
    for (const auto& name : names) {
      const auto info = look(from, name);
      if (!info) throw SystemError(ENOENT, "stat", printable(name));
      if (S_ISDIR(info->st_mode))
        subdirectory(from, into, name, child_of(below, name));
      else if (is_whiteout(*info) && child_of(below, name) == nullptr)
        remove_tree_at(into, name);
      else
        replace(from, into, name, *info);
    }
    // Last, since what happened inside has changed the time.
    take_attributes(from, into);
  }

 private:
  static const oci::FileNode* child_of(const oci::FileNode* directory, const std::string& name) {
    if (directory == nullptr) return nullptr;
    const auto found = directory->children.find(name);
    return found == directory->children.end() ? nullptr : found->second.get();
  }

  void subdirectory(int from, int into, const std::string& name, const oci::FileNode* below) {
    if (below != nullptr && below->attributes.type != oci::FileType::directory) below = nullptr;
    const UniqueFd source = open_at(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    const auto there = look(into, name);
    const bool hides = xattr_of(source.get(), opaque_) == "y";
    const bool merges = there && S_ISDIR(there->st_mode) && !hides;
    if (there && !merges) remove_tree_at(into, name);
    if (!merges) ensure_dir_at(into, name, 0700);
    const UniqueFd target = open_at(into, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (merges && xattr_of(target.get(), opaque_) == "y") below = nullptr;
    // Whatever stood here in the layers between, deleted or of another type, hid what is below them.
    if (below != nullptr && !merges && (hides || there)) {
      if (::fsetxattr(target.get(), opaque_.c_str(), "y", 1, 0) != 0)
        throw SystemError(errno, "mark as opaque", printable(name));
      below = nullptr;
    }
    directory(source.get(), target.get(), below);
  }

  static void replace(int from, int into, const std::string& name, const struct stat& info) {
    if (look(into, name)) remove_tree_at(into, name);
    if (::linkat(from, name.c_str(), into, name.c_str(), 0) == 0) return;
    if (errno != EMLINK) throw SystemError(errno, "link", printable(name));
    // Every deletion of a layer may be a name of one inode.
    if (!is_whiteout(info) || ::mknodat(into, name.c_str(), S_IFCHR, makedev(0, 0)) != 0)
      throw SystemError(EMLINK, "link", printable(name));
  }

  void take_attributes(int from, int into) const {
    struct stat info {};
    if (::fstat(from, &info) != 0) throw SystemError(errno, "stat", "a layer's directory");
    if (::fchown(into, info.st_uid, info.st_gid) != 0 || ::fchmod(into, info.st_mode & 07777) != 0)
      throw SystemError(errno, "copy attributes of", "a layer's directory");
    for (const auto& name : xattrs_of(into)) {
      if (name.starts_with(prefix_)) continue;
      if (::fremovexattr(into, name.c_str()) != 0 && errno != ENODATA && errno != EPERM &&
          errno != EOPNOTSUPP)
        throw SystemError(errno, cat("remove attribute ", name, " of"), "a layer's directory");
    }
    for (const auto& name : xattrs_of(from)) {
      if (name.starts_with(prefix_) || name.starts_with("system.") || name.starts_with("security.")) continue;
      const std::string value = xattr_of(from, name);
      if (::fsetxattr(into, name.c_str(), value.data(), value.size(), 0) != 0)
        throw SystemError(errno, cat("copy attribute ", name, " of"), "a layer's directory");
    }
    const struct timespec times[2] = {info.st_atim, info.st_mtim};
    if (::futimens(into, times) != 0) throw SystemError(errno, "set times of", "a layer's directory");
  }

  const std::string prefix_;
  const std::string opaque_;
};

}  // namespace

void merge_lower(int layer, int into, const oci::FileTree& below, oci::OverlayFlavour flavour) {
  Merger(flavour).directory(layer, into, below.root().get());
}

}  // namespace imgbuild::builder
