#include "builder/fuse_marks.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/strings.h"
#include "builder/whiteout.h"

namespace imgbuild::builder {

namespace {

constexpr std::string_view kOpaqueFile = ".wh..wh..opq";
constexpr std::string_view kOpaqueDevice = ".wh..opq";

/// As it makes them, with a umask of 0.
bool is_mark_file(const struct stat& info) {
  return S_ISREG(info.st_mode) && info.st_size == 0 && (info.st_mode & 07777) == 0700;
}

bool settle(const RootDir& upper, const FuseMarks& marks, const char* opaque) {
  const std::string path = marks.path.empty() ? "." : marks.path;
  const UniqueFd node = upper.open_beneath(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  struct stat before {};
  if (::fstat(node.get(), &before) != 0) throw SystemError(errno, "stat", printable(path));
  for (const auto& name : marks.helpers)
    if (::unlinkat(node.get(), name.c_str(), 0) != 0) throw SystemError(errno, "remove", printable(name));
  for (const auto& name : marks.whiteouts)
    if (::mknodat(node.get(), name.c_str(), S_IFCHR, makedev(0, 0)) != 0) return false;
  // Another name of the inode may have been here before.
  for (const auto& name : marks.attributes)
    if (::fremovexattr(node.get(), name.c_str()) != 0 && errno != ENODATA)
      throw SystemError(errno, "remove an attribute of", printable(path));
  if (marks.opaque && ::fsetxattr(node.get(), opaque, "y", 1, 0) != 0) return false;
  const timespec times[] = {before.st_atim, before.st_mtim};
  if (::futimens(node.get(), times) != 0) throw SystemError(errno, "set the time of", printable(path));
  return true;
}

}  // namespace

FuseName fuse_name(std::string_view name, const struct stat& info) {
  if (!name.starts_with(kFusePrefix)) return FuseName::content;
  if (name == kOpaqueFile && S_ISREG(info.st_mode) && info.st_size == 0) return FuseName::opaque;
  if (name == kOpaqueDevice && (is_whiteout(info) || is_mark_file(info))) return FuseName::opaque;
  return is_mark_file(info) ? FuseName::whiteout : FuseName::content;
}

bool has_fuse_opaque_name(int directory) {
  for (const auto name : {kOpaqueFile, kOpaqueDevice}) {
    struct stat info {};
    if (::fstatat(directory, name.data(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
      if (fuse_name(name, info) == FuseName::opaque) return true;
    } else if (errno != ENOENT) {
      throw SystemError(errno, "stat", std::string(name));
    }
  }
  return false;
}

bool settle_fuse_marks(const RootDir& upper, const std::vector<FuseMarks>& marks,
                       oci::OverlayFlavour flavour) {
  const char* const opaque =
      flavour == oci::OverlayFlavour::trusted ? "trusted.overlay.opaque" : "user.overlay.opaque";
  for (const auto& mark : marks)
    if (!settle(upper, mark, opaque)) return false;
  return true;
}

}  // namespace imgbuild::builder
