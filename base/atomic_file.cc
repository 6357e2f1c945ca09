#include "base/atomic_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/error.h"
#include "base/strings.h"
#include "base/syncer.h"
#include "base/temp_dir.h"

namespace imgbuild {

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  struct stat info {};
  const bool exists = ::stat(path.c_str(), &info) == 0;
  if (!exists && errno != ENOENT) throw SystemError(errno, "look up", path);
  if (exists && S_ISDIR(info.st_mode))
    throw Error(cat("\"", printable(path), "\" is a directory, a file is needed"));
  if (exists && !S_ISREG(info.st_mode)) {
    fd_ = open_path(path, O_WRONLY);
    return;
  }
  const std::filesystem::path target =
      exists ? std::filesystem::canonical(path) : std::filesystem::path(path);
  name_ = target.filename().string();
  if (name_.empty()) throw Error(cat("\"", printable(path), "\" names no file"));
  const std::string parent = target.parent_path().string();
  dir_ = open_path(parent.empty() ? "." : parent, O_RDONLY | O_DIRECTORY);
  const std::string temporary = cat(".", random_name(), ".tmp");
  fd_ = open_at(dir_.get(), temporary, O_WRONLY | O_CREAT | O_EXCL, 0666);
  temporary_ = temporary;
}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) (void)::unlinkat(dir_.get(), temporary_.c_str(), 0);
}

void AtomicFile::commit(Syncer* syncer) {
  if (temporary_.empty()) return;
  if (syncer != nullptr) syncer->data(fd_.get(), path_);
  if (::renameat(dir_.get(), temporary_.c_str(), dir_.get(), name_.c_str()) != 0) {
    throw SystemError(errno, "rename to", path_);
  }
  temporary_.clear();
  if (syncer != nullptr) syncer->directory(dir_.get(), cat("the directory of ", path_));
}

}  // namespace imgbuild
