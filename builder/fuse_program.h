#pragma once

#include <sys/stat.h>

#include <compare>
#include <optional>
#include <string>
#include <string_view>
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

struct FuseVersion {
  int major = 0, minor = 0;
  auto operator<=>(const FuseVersion&) const = default;
};

/// The version in what the program prints when asked for it; nothing where it names none.
std::optional<FuseVersion> parse_fuse_version(std::string_view printed);

/// Asks the program for its version. Nothing where it does not say. Never throws.
std::optional<FuseVersion> fuse_version(const FuseProgram& program);

/// What is wrong with versions before 1.16, which list the entries of large directories twice or not at all
/// (NEWS of fuse-overlayfs 1.16), so that a command can go wrong without a word; empty for later ones. Such a
/// version is taken only when it is asked for.
std::string fuse_defect(const std::optional<FuseVersion>& version);

/// What messages add to a defect where the program was found and not asked for.
inline constexpr const char* kOnlyWhenAsked = "; it is used only with --snapshotter=fuse-overlayfs";

/// A connection to the kernel's FUSE that nobody serves yet. Throws SystemError.
UniqueFd open_fuse_device();

}  // namespace imgbuild::builder
