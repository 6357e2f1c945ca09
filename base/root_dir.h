#pragma once

#include <string>
#include <string_view>

#include "base/unique_fd.h"

namespace imgbuild {

/// A directory tree that may be hostile: an image, a build context, an extraction. Every path is resolved by
/// the kernel inside the tree (openat2), so neither `..` nor a symlink leads out (FS-1); where there is no
/// openat2 by base/path_walk.h. Holds an O_PATH descriptor. Const operations may run on several threads.
class RootDir {
 public:
  /// Follows links in `path` itself: it is the user's. Throws SystemError unless it is a directory.
  static RootDir open(const std::string& path);
  explicit RootDir(UniqueFd dir) noexcept : dir_(std::move(dir)) {}

  int fd() const noexcept { return dir_.get(); }

  /// Opens `path` as if the tree were `/` (absolute links and `..` stay inside). The last component is
  /// followed unless O_NOFOLLOW is given. O_CLOEXEC is added; magic links are refused. Throws SystemError.
  UniqueFd open_in_root(std::string_view path, int flags, unsigned mode = 0) const;
  /// The same, an empty UniqueFd when the path does not exist.
  UniqueFd open_in_root_if_exists(std::string_view path, int flags) const;
  /// Opens `path` and fails with SystemError(EXDEV) or ELOOP instead of leaving the tree or following a link.
  UniqueFd open_beneath(std::string_view path, int flags, unsigned mode = 0) const;

 private:
  UniqueFd dir_;
};

/// Removes a whole tree below `dir`/`name` by descriptors: never follows a link, never crosses a mount, needs
/// no recursion on the stack; gives itself rights to directories it owns. Content if nothing is there.
/// Throws SystemError when something stays.
void remove_tree_at(int dir, const std::string& name);

}  // namespace imgbuild
