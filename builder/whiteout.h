#pragma once

#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace imgbuild::builder {

/// Whether a node of an overlay's directory says that what is below it is gone (OVL-20).
inline bool is_whiteout(const struct stat& info) noexcept {
  return S_ISCHR(info.st_mode) && info.st_rdev == makedev(0, 0);
}

}  // namespace imgbuild::builder
