#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/root_dir.h"
#include "oci/node_metadata.h"

namespace imgbuild::builder {

/// What fuse-overlayfs left at one path of an upper directory that the kernel's overlays would not understand
/// or would show as content.
struct FuseMarks {
  std::string path;  ///< "" is the upper directory itself
  bool opaque = false;
  std::vector<std::string> attributes = {};  ///< extended ones that mean nothing to the kernel
  std::vector<std::string> helpers = {};     ///< names in this directory that are no content
  std::vector<std::string> whiteouts = {};   ///< names deleted by one of these helpers
};

inline constexpr std::string_view kFusePrefix = ".wh.";

/// What a name starting with `.wh.` is in an upper directory of fuse-overlayfs (OVL-40). Commands can make
/// such names too; only those in the form that it gives them are its own.
enum class FuseName : std::uint8_t { content, opaque, whiteout };
FuseName fuse_name(std::string_view name, const struct stat& info);

/// Whether names in the directory say that it hides the one below. Throws SystemError.
bool has_fuse_opaque_name(int directory);

/// Turns an upper directory of fuse-overlayfs into one that reads the same in the kernel's overlays of
/// `flavour` and in fuse-overlayfs, so that it may serve both as a lower directory. False when the file
/// system cannot hold that form; it is then in between and not to be kept. Throws SystemError.
bool settle_fuse_marks(const RootDir& upper, const std::vector<FuseMarks>& marks,
                       oci::OverlayFlavour flavour);

}  // namespace imgbuild::builder
