#pragma once

#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "oci/node_metadata.h"

namespace imgbuild::tests {

/// True when the test must be skipped because this process is not root; says so.
inline bool lacks_root() {
  if (::geteuid() == 0) return false;
  std::puts("SKIPPED: needs root");
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
  std::puts("SKIPPED: needs root outside of user namespaces");
  return true;
}

/// True when the test must be skipped because a sanitizer takes memory of its own; says so.
inline bool has_memory_of_a_sanitizer() {
#if defined(__SANITIZE_ADDRESS__)
  constexpr bool kSanitized = true;
#elif defined(__has_feature)
  constexpr bool kSanitized = __has_feature(address_sanitizer);
#else
  constexpr bool kSanitized = false;
#endif
  if (kSanitized) std::puts("SKIPPED: a sanitizer takes memory of its own");
  return kSanitized;
}

}  // namespace imgbuild::tests
