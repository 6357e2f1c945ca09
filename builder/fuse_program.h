#pragma once

#include <sys/stat.h>

#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace imgbuild::builder {

/// The fuse-overlayfs program of this machine, opened: what is started later is what was looked at.
struct FuseProgram {
  std::string path;
  UniqueFd file;
  std::string problem;  ///< why it cannot be used; empty: it can, as far as is known without trying
  bool usable() const noexcept { return problem.empty(); }
};

/// Why a program with these attributes is not trusted (OVL-43); empty when it is. Its owner is root or who
/// runs this, and nobody else may write it. `foreign_ids`: in a user namespace whoever has no number in it
/// shows as `overflow_uid`, among them root of the machine, and is believed.
std::string distrust_of(const struct stat& info, uid_t self, bool foreign_ids, uid_t overflow_uid);

/// The first fuse-overlayfs in the system's directories; never one out of PATH or an image. Also looks
/// whether /dev/fuse opens. `foreign_ids`: this process is in a user namespace. Never throws.
FuseProgram find_fuse_program(bool foreign_ids, const std::vector<std::string>& directories = {
                                                    "/usr/local/bin", "/usr/bin", "/bin"});

/// A connection to the kernel's FUSE that nobody serves yet. Throws SystemError.
UniqueFd open_fuse_device();

}  // namespace imgbuild::builder
