#include "oci/node_metadata.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.h"
#include "base/strings.h"
#include "oci/layer_xattr.h"

namespace imgbuild::oci {

namespace {

constexpr std::string_view kUserOverlay = "user.overlay.";
constexpr std::string_view kCapability = "security.capability";

std::array<timespec, 2> times(const Timestamp& mtime) {
  timespec time{};
  time.tv_sec = mtime.seconds;
  time.tv_nsec = static_cast<long>(mtime.nanoseconds);
  return {time, time};
}

}  // namespace

void MetadataWriter::write(int fd, const FileAttributes& a, const std::string& path) {
  set_owner(fd, a, path);
  if (::fchmod(fd, a.mode) != 0) throw SystemError(errno, "change mode of", path);
  if (options_.write_xattrs) {
    // The capability comes last: setting another attribute must not be what clears it.
    for (const auto& [name, value] : a.xattrs) {
      if (name != kCapability) write_xattr(fd, name, value, path);
    }
    const auto capability = a.xattrs.find(std::string(kCapability));
    if (capability != a.xattrs.end() && (options_.keep_owner || options_.record_owner))
      write_xattr(fd, capability->first, capability->second, path);
  }
  if (::futimens(fd, times(options_.force_mtime.value_or(a.mtime)).data()) != 0) {
    throw SystemError(errno, "change time of", path);
  }
}

void MetadataWriter::write_at(int dir, const std::string& name, const FileAttributes& a,
                              const std::string& path) {
  if (options_.keep_owner && !options_.record_owner &&
      ::fchownat(dir, name.c_str(), a.uid, a.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    throw SystemError(errno, "change owner of", path);
  }
  // The name is no link here, and the system has no call that would refuse to follow one.
  if (a.type != FileType::symlink && ::fchmodat(dir, name.c_str(), a.mode, 0) != 0) {
    throw SystemError(errno, "change mode of", path);
  }
  if (options_.write_xattrs && !a.xattrs.empty()) {
    warn(
        cat("the extended attributes of \"", printable(path), "\" are left out: it is no file or directory"));
  }
  if (::utimensat(dir, name.c_str(), times(options_.force_mtime.value_or(a.mtime)).data(),
                  AT_SYMLINK_NOFOLLOW) != 0) {
    throw SystemError(errno, "change time of", path);
  }
}

void MetadataWriter::set_owner(int fd, const FileAttributes& a, const std::string& path) {
  if (options_.record_owner) {
    if (a.uid == 0 && a.gid == 0) return;
    const std::string owner = cat(a.uid, ":", a.gid);
    if (::fsetxattr(fd, kOwnerXattr, owner.data(), owner.size(), 0) != 0 && errno != ENOTSUP)
      throw SystemError(errno, "note the owner of", path);
    return;
  }
  if (!options_.keep_owner || ::fchown(fd, a.uid, a.gid) == 0) return;
  const int failed = errno;
  SystemError error(failed, cat("change owner to ", a.uid, ":", a.gid, " of"), path);
  if (failed == EINVAL) {
    error.add_note(cat("the user namespace has no id ", std::max(a.uid, a.gid),
                       ": more subordinate ids are needed in", " /etc/subuid and /etc/subgid"));
  }
  throw error;
}

std::string MetadataWriter::stored_name(const std::string& name) const {
  // An overlay mounted with `userxattr` takes the plain name for its own, and gives the escaped one back
  // plain (FS-30).
  if (options_.flavour == OverlayFlavour::user && name.starts_with(kUserOverlay)) {
    return cat(kUserOverlay, "overlay.", name.substr(kUserOverlay.size()));
  }
  return name;
}

void MetadataWriter::write_xattr(int fd, const std::string& name, const std::string& value,
                                 const std::string& path) {
  // fuse-overlayfs would take it for a mark of a directory whose lower content is hidden, whoever wrote it.
  const bool steers_fuse = options_.flavour == OverlayFlavour::trusted && name == "user.overlay.opaque";
  if (!layer_keeps_xattr(name) || steers_fuse) return;
  if (::fsetxattr(fd, stored_name(name).c_str(), value.data(), value.size(), 0) == 0) return;
  const int error = errno;
  const bool tolerable =
      error == ENOTSUP || error == EPERM || error == ENOSPC || error == E2BIG || error == ERANGE;
  if (!tolerable || name == kCapability)
    throw SystemError(error, cat("set attribute ", printable(name), " of"), path);
  if (warned_xattr_) return;
  warned_xattr_ = true;
  warn(cat("the file system refuses extended attributes, first ", printable(name), " of \"", printable(path),
           "\""));
}

void MetadataWriter::mark_opaque(int fd, const std::string& path) {
  const char* const name =
      options_.flavour == OverlayFlavour::user ? "user.overlay.opaque" : "trusted.overlay.opaque";
  if (::fsetxattr(fd, name, "y", 1, 0) != 0) throw SystemError(errno, "mark as opaque", path);
}

void MetadataWriter::warn(std::string text) {
  constexpr std::size_t kMaxWarnings = 100;
  if (warnings_.size() < kMaxWarnings) warnings_.push_back(std::move(text));
}

}  // namespace imgbuild::oci
