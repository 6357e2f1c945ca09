#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"

namespace imgbuild {

/// One file system being configured with fsopen/fsconfig/fsmount. Nothing is visible anywhere before the
/// mount made of it is attached: a mount is a descriptor and disappears with it. Errors carry the kernel's
/// own log lines.
class FsContext {
 public:
  /// Throws SystemError when the kernel does not know `type` (ENODEV) or forbids it (EPERM).
  explicit FsContext(const std::string& type);

  void set_flag(const std::string& key);
  void set_string(const std::string& key, const std::string& value);
  /// Passes a file of ours instead of a name, so no path is looked up again.
  void set_fd(const std::string& key, int fd);
  /// The same, but false when the kernel does not know the key in this form (EINVAL).
  bool try_set_fd(const std::string& key, int fd);
  bool try_set_flag(const std::string& key);
  bool try_set_string(const std::string& key, const std::string& value);

  /// Makes the mount, with MOUNT_ATTR_* `attributes`; close-on-exec, attached nowhere. Call once.
  UniqueFd mount(std::uint64_t attributes = 0);

 private:
  [[noreturn]] void fail(int error_number, const std::string& what) const;
  std::string kernel_log() const;
  std::string type_;
  UniqueFd fd_;
};

/// A detached copy of the mount at `path` below `dir` (an empty path: `dir` itself); `recursive` takes the
/// mounts below along. Links in the last component are not followed. Throws SystemError.
UniqueFd clone_mount(int dir, const std::string& path, bool recursive = false);

/// Adds MOUNT_ATTR_* `attributes` to the mount `fd`, and to those below it if `recursive`. Throws
/// SystemError.
void add_mount_attributes(int fd, std::uint64_t attributes, bool recursive = false);

}  // namespace imgbuild
