#pragma once

#include <string_view>

#include "base/unique_fd.h"

namespace imgbuild {

/// What RootDir does where the kernel or an outer filter has no openat2 (FS-3): a path is walked name by name
/// through descriptors that are held, links are expanded by hand, and `..` goes back to the descriptor it
/// came from. No rename by somebody else can therefore lead out of `root`. Links in a procfs are never
/// followed, magic or not.

/// As openat2 with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS. No descriptor and errno on failure.
UniqueFd walk_in_root(int root, std::string_view path, int flags, unsigned mode);

/// As openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS. No descriptor and errno on failure.
UniqueFd walk_beneath(int root, std::string_view path, int flags, unsigned mode);

}  // namespace imgbuild
