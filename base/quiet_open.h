#pragma once

#include <fcntl.h>

#include <cerrno>

#include "base/error.h"
#include "base/unique_fd.h"

namespace imgbuild {

/// Opens a file to read it without changing its access time, which costs a write to its inode; only its owner
/// and root may. `open` is called with the flags to use, a second time when the first was refused for that.
template <typename Open>
UniqueFd open_without_atime(Open open) {
  try {
    return open(O_RDONLY | O_NOATIME);
  } catch (const SystemError& error) {
    if (error.error_number() != EPERM) throw;
    return open(O_RDONLY);
  }
}

}  // namespace imgbuild
