#pragma once

#include <string>

#include "builder/overlay_mount.h"

namespace imgbuild::builder {

/// The options of mount(2) for an overlay: the directories by their descriptor numbers, then `settings`.
/// Throws UnsupportedError when they do not fit: the kernel would cut them off without a word (SBX-32).
std::string classic_overlay_options(const OverlayDirs& dirs, const std::string& settings);

/// Mounts an overlay with mount(2), for kernels that cannot take it piece by piece, and returns a detached
/// copy. It happens on a thread in a mount namespace of its own, so that nothing of it is ever seen outside.
/// `settings` are further options, separated by commas. The directories must have names in this process's
/// mount namespace. Throws SystemError, UnsupportedError as above.
UniqueFd mount_overlay_classic(const OverlayDirs& dirs, const std::string& settings);

}  // namespace imgbuild::builder
