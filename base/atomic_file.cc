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
  open_aside(0666);
}

AtomicFile::AtomicFile(int dir, const std::string& name, unsigned mode)
    : dir_(open_at(dir, ".", O_RDONLY | O_DIRECTORY)), path_(name), name_(name) {
  open_aside(mode);
}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) (void)::unlinkat(dir_.get(), temporary_.c_str(), 0);
}

void AtomicFile::open_aside(unsigned mode) {
  fd_ = UniqueFd(::openat(dir_.get(), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, mode));
  unnamed_ = static_cast<bool>(fd_);
  if (unnamed_) return;
  const std::string temporary = cat(".", random_name(), ".tmp");
  fd_ = open_at(dir_.get(), temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
  temporary_ = temporary;
}

/// A link cannot replace a file, so an old one is replaced by way of a second name. That name is always the
/// same: what a process that was killed in between left there goes away with the next one.
void AtomicFile::take_name() {
  const std::string ours = cat("/proc/self/fd/", fd_.get());
  const auto link_to = [&](const std::string& name) {
    return ::linkat(AT_FDCWD, ours.c_str(), dir_.get(), name.c_str(), AT_SYMLINK_FOLLOW) == 0;
  };
  if (link_to(name_)) return;
  const std::string second = cat(".", name_.substr(0, 200), ".new");
  bool linked = errno == EEXIST && link_to(second);
  for (int tries = 0; !linked && errno == EEXIST && tries < 100; ++tries) {
    (void)::unlinkat(dir_.get(), second.c_str(), 0);
    linked = link_to(second);
  }
  if (!linked) throw SystemError(errno, "create", path_);
  temporary_ = second;
}

void AtomicFile::commit(Syncer* syncer) {
  if (name_.empty()) return;
  if (syncer != nullptr) syncer->data(fd_.get(), path_);
  if (unnamed_) take_name();
  if (!temporary_.empty() && ::renameat(dir_.get(), temporary_.c_str(), dir_.get(), name_.c_str()) != 0) {
    throw SystemError(errno, "rename to", path_);
  }
  temporary_.clear();
  name_.clear();
  if (syncer != nullptr) syncer->directory(dir_.get(), cat("the directory of ", path_));
}

}  // namespace imgbuild
