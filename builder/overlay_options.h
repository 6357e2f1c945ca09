#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "oci/node_metadata.h"

namespace imgbuild::builder {

/// What the overlay module does where a mount does not say otherwise.
struct OverlayDefaults {
  bool index = false, metacopy = false, redirect_dir = false, redirect_always_follow = false;
};

/// Looks whether an overlay has the options a layer's content depends on (OVL-1): index and metacopy off,
/// redirects not followed, and `userxattr` with the user flavour. `shown` are the options of the file system
/// as mountinfo shows them; the kernel leaves out those that are the default. Empty when all is well, else
/// what is wrong.
std::string wrong_overlay_option(std::string_view shown, const OverlayDefaults& defaults,
                                 oci::OverlayFlavour flavour);

/// The same of a detached overlay that nobody needs any more (OVL-2): it is attached in a mount namespace
/// that goes at once. Throws SystemError when it cannot be read back.
std::string wrong_overlay_option(int overlay, oci::OverlayFlavour flavour);

}  // namespace imgbuild::builder
