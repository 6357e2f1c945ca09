#pragma once

#include <string>

#include "base/unique_fd.h"

namespace imgbuild {

class Syncer;

/// A file of the user's that appears complete or not at all: it is written under a temporary name beside its
/// final one and renamed by commit(); the destructor discards. What is there but is no regular file (a pipe,
/// a terminal,
/// `/dev/null`) is written to directly. A symlink to a file is followed, so that it stays a link.
class AtomicFile {
 public:
  /// Throws SystemError, or Error when `path` is a directory.
  explicit AtomicFile(const std::string& path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  int fd() const noexcept { return fd_.get(); }
  /// Publishes the file. With a `syncer` its data is on the disk before its name is. Throws SystemError.
  void commit(Syncer* syncer = nullptr);

 private:
  UniqueFd dir_;
  UniqueFd fd_;
  std::string path_;  ///< for errors
  std::string name_;
  std::string temporary_;  ///< empty: nothing to rename or remove
};

}  // namespace imgbuild
