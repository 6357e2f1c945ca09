#pragma once

#include <string>

#include "base/unique_fd.h"

namespace imgbuild {

class Syncer;

/// A file of the user's that appears complete or not at all: it has no name until commit() gives it one, so
/// that a crash leaves nothing behind; the destructor discards. Where unnamed files do not exist, it has a
/// temporary name beside the final one. What is there but is no regular file (a pipe, a terminal,
/// `/dev/null`) is written to directly. A symlink to a file is followed, so that it stays a link.
class AtomicFile {
 public:
  /// Throws SystemError, or Error when `path` is a directory.
  explicit AtomicFile(const std::string& path);
  /// The file `name` in the directory `dir`, which is borrowed; a link of that name is replaced.
  AtomicFile(int dir, const std::string& name, unsigned mode);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  int fd() const noexcept { return fd_.get(); }
  /// Publishes the file. With a `syncer` its data is on the disk before its name is. Throws SystemError.
  void commit(Syncer* syncer = nullptr);

 private:
  void open_aside(unsigned mode);
  void take_name();

  UniqueFd dir_;
  UniqueFd fd_;
  std::string path_;  ///< for errors
  std::string name_;
  std::string temporary_;  ///< empty: nothing to rename or remove
  bool unnamed_ = false;
};

}  // namespace imgbuild
