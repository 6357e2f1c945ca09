#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace imgbuild::builder {

/// The control group file system, as far as we use it. Paths are absolute and trusted. Calls that return int
/// give 0 or the error number.
class CgroupFiles {
 public:
  virtual ~CgroupFiles() = default;
  virtual int make_dir(const std::string& path) = 0;
  virtual int remove_dir(const std::string& path) = 0;
  virtual int write(const std::string& path, const std::string& value) = 0;
  /// Nothing when there is no such file or it cannot be read.
  virtual std::optional<std::string> read(const std::string& path) = 0;
  virtual std::vector<std::string> sub_dirs(const std::string& path) = 0;
  /// The file a process joins by, or the directory, to be handed to the launcher. Throws SystemError.
  virtual UniqueFd open(const std::string& path, int flags) = 0;
  /// Whether this user may change the group.
  virtual bool is_writable(const std::string& dir) = 0;
};

/// The kernel's own.
CgroupFiles& kernel_cgroup_files();

}  // namespace imgbuild::builder
