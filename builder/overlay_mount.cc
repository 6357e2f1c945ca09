#include "builder/overlay_mount.h"

#include "base/error.h"
#include "base/mount.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

/// Names a directory: by descriptor (6.13), else by its name under /proc, which needs no escaping (6.8; SBX-31).
void set_dir(FsContext& overlay, const std::string& key, int fd) {
  if (overlay.try_set_fd(key, fd)) return;
  overlay.set_string(key, cat("/proc/self/fd/", fd));
}

}  // namespace

UniqueFd mount_overlay(const OverlayDirs& dirs, oci::OverlayFlavour flavour) {
  if (dirs.lower.size() > kMaxLowerDirs)
    throw UnsupportedError(cat("an image of ", dirs.lower.size(), " layers cannot be mounted: the kernel takes ", kMaxLowerDirs));
  FsContext overlay("overlay");
  for (const int dir : dirs.lower) set_dir(overlay, "lowerdir+", dir);
  if (dirs.upper >= 0) {
    set_dir(overlay, "upperdir", dirs.upper);
    set_dir(overlay, "workdir", dirs.work);
    overlay.try_set_flag("volatile");
  }
  overlay.try_set_string("index", "off");
  overlay.try_set_string("metacopy", "off");
  overlay.try_set_string("redirect_dir", "nofollow");
  overlay.try_set_string("xino", "off");
  overlay.try_set_string("nfs_export", "off");
  overlay.try_set_string("uuid", "null");
  if (flavour == oci::OverlayFlavour::user) overlay.set_flag("userxattr");
  return overlay.mount();
}

}  // namespace imgbuild::builder
