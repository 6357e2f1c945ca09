#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "oci/node_metadata.h"

namespace imgbuild::builder {

struct OverlayDirs {
  std::vector<int> lower;  ///< top first, at least one
  int upper = -1;          ///< none: read-only, then at least two lower directories
  int work = -1;
};

/// At most so many lower directories in one overlay (SBX-33).
constexpr std::size_t kMaxLowerDirs = 500;

/// How the kernel is told which directories to put together (SBX-31), newest way first.
enum class LayerNaming : std::uint8_t {
  descriptors,  ///< `lowerdir+` with a descriptor for each (Linux 6.13)
  names,        ///< `lowerdir+` with a name for each (6.8)
  joined,       ///< all names in one `lowerdir`: 255 bytes, so for a few layers only
  classic,      ///< mount(2): 4095 bytes for all options together
};

struct OverlayMountOptions {
  std::optional<LayerNaming> naming;  ///< only this one; without it the newest that works
  /// Moved directories and copies of metadata only are resolved: to read what somebody else's overlay left.
  /// For read-only overlays of the trusted flavour.
  bool follow = false;
};

/// A detached overlay of these directories with every option that changes its meaning set by hand (OVL-1).
/// Options that only save time are left out where the kernel does not know them (OVL-2). The way an older
/// kernel needs is found once and remembered. Thread-safe. Throws UnsupportedError for more directories than
/// can be named, SystemError with the kernel's own reason.
UniqueFd mount_overlay(const OverlayDirs& dirs, oci::OverlayFlavour flavour,
                       const OverlayMountOptions& options = {});

}  // namespace imgbuild::builder
