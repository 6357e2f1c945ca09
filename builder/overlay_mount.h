#pragma once

#include <vector>

#include "base/unique_fd.h"
#include "oci/node_metadata.h"

namespace imgbuild::builder {

struct OverlayDirs {
  std::vector<int> lower;   ///< top first, at least one
  int upper = -1;           ///< none: read-only, then at least two lower directories
  int work = -1;
};

/// At most so many lower directories in one overlay (SBX-33).
constexpr std::size_t kMaxLowerDirs = 500;

/// A detached overlay of these directories with every option that changes its meaning set by hand (OVL-1).
/// Throws UnsupportedError for more than kMaxLowerDirs directories, SystemError with the kernel's own reason.
UniqueFd mount_overlay(const OverlayDirs& dirs, oci::OverlayFlavour flavour);

}  // namespace imgbuild::builder
