#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "base/unique_fd.h"

namespace imgbuild {

struct DirEntry {
  std::string name;
  std::uint64_t inode = 0;
};

/// Calls `visit` for every name of a directory but `.` and `..`, in the order the kernel gives. Throws
/// SystemError.
void list_dir(int dir, const std::function<void(const DirEntry&)>& visit);

/// Calls `visit` for every name of the directory `dir` but `.` and `..`, in the order the kernel gives, and
/// with the type it tells (`DT_…`, DT_UNKNOWN on some file systems). Reads on from where `dir` stands, in
/// large pieces: for whole trees. `path` is for errors. Throws SystemError.
void list_names(int dir, std::string_view path,
                const std::function<void(const char* name, unsigned char type)>& visit);

/// Adds up what files take on the disk as du(1) does: blocks in use, directories included, a file with
/// several names once. Never follows a link, never leaves the file system. One thread.
class DiskUsage {
 public:
  /// Bytes of `dir`/`name` and everything below; 0 when it is gone or was counted before.
  std::uint64_t tree(int dir, const std::string& name);
  /// Of one file, or of a directory without its content.
  std::uint64_t one(int dir, const std::string& name);

 private:
  std::unordered_set<std::string> seen_;  ///< device and inode of files with several names
};

}  // namespace imgbuild
