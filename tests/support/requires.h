#pragma once

#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "oci/node_metadata.h"

namespace imgbuild::tests {

/// True when the test must be skipped because this process is not root; says so.
inline bool lacks_root() {
  if (::geteuid() == 0) return false;
  std::puts("skipped: needs root");
  return true;
}

/// What overlays of this process are marked with: as root of a user namespace it may not use trusted
/// attributes.
inline oci::OverlayFlavour overlay_flavour() {
  char link[64] = {};
  const bool first = ::readlink("/proc/self/ns/user", link, sizeof link - 1) > 0 &&
                     std::strcmp(link, "user:[4026531837]") == 0;
  return first ? oci::OverlayFlavour::trusted : oci::OverlayFlavour::user;
}

/// True when the test must be skipped because this process is root of a user namespace only; says so.
inline bool lacks_first_namespace() {
  if (overlay_flavour() == oci::OverlayFlavour::trusted) return false;
  std::puts("skipped: needs root outside of user namespaces");
  return true;
}

}  // namespace imgbuild::tests
