#pragma once

#include <string_view>

namespace imgbuild::oci {

/// Whether an extended attribute of a foreign layer is taken over (FS-30). Not so what would steer overlay
/// file systems or other container tools, what belongs to this machine's security modules, and unknown
/// namespaces.
inline bool layer_keeps_xattr(std::string_view name) noexcept {
  if (name.starts_with("user.")) {
    return name.size() > 5 && !name.starts_with("user.fuseoverlayfs.") &&
           !name.starts_with("user.containers.") && !name.starts_with("user.imgbuild.");
  }
  if (name.starts_with("security.")) {
    return name != "security.selinux" && name != "security.ima" && name != "security.evm" &&
           name != "security.apparmor" && name.size() > 9;
  }
  return name == "system.posix_acl_access" || name == "system.posix_acl_default";
}

}  // namespace imgbuild::oci
