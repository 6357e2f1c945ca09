#include "builder/tree_stamps.h"

#include <dirent.h>
#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"

namespace imgbuild::builder {

namespace {

/// How far the two reads of clock_offset() may lie apart, and how much a clock that is only slowed down
/// loses.
constexpr std::int64_t kTolerance = 2'000'000;

std::int64_t nanoseconds(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

std::int64_t clock_offset() { return nanoseconds(CLOCK_REALTIME) - nanoseconds(CLOCK_BOOTTIME); }

bool before(const timespec& a, const timespec& b) {
  return std::tie(a.tv_sec, a.tv_nsec) < std::tie(b.tv_sec, b.tv_nsec);
}

void stamp_directory(int dir, const std::string& prefix, TreeStamps& stamps) {
  UniqueFd copy = open_at(dir, ".", O_RDONLY | O_DIRECTORY);
  DIR* stream = ::fdopendir(copy.get());
  if (stream == nullptr) throw SystemError(errno, "read directory", prefix);
  static_cast<void>(copy.release());
  std::vector<std::string> directories;
  int failed = 0;
  for (errno = 0; const dirent* item = ::readdir(stream); errno = 0) {
    if (std::strcmp(item->d_name, ".") == 0 || std::strcmp(item->d_name, "..") == 0) continue;
    struct stat info {};
    if (::fstatat(dir, item->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) break;
    stamps.add(prefix + item->d_name, info);
    if (S_ISDIR(info.st_mode)) directories.emplace_back(item->d_name);
  }
  failed = errno;
  ::closedir(stream);
  if (failed != 0) throw SystemError(failed, "read directory", prefix);
  for (const auto& name : directories)
    stamp_directory(open_at(dir, name, O_RDONLY | O_DIRECTORY).get(), cat(prefix, name, "/"), stamps);
}

}  // namespace

TreeStamps stamp_tree(int root) {
  TreeStamps stamps;
  stamp_directory(root, "", stamps);
  return stamps;
}

TreeStamps::TreeStamps() : clock_offset_(clock_offset()) { ::clock_gettime(CLOCK_REALTIME_COARSE, &taken_); }

bool TreeStamps::clock_held() const { return clock_offset() >= clock_offset_ - kTolerance; }

void TreeStamps::add(const std::string& path, const struct stat& info) {
  stamps_[path] = {info.st_ino, info.st_ctim};
}

bool TreeStamps::unchanged(const std::string& path, const struct stat& info) const {
  const auto found = stamps_.find(path);
  if (found == stamps_.end()) return false;
  const Stamp& stamp = found->second;
  return stamp.inode == info.st_ino && stamp.changed.tv_sec == info.st_ctim.tv_sec &&
         stamp.changed.tv_nsec == info.st_ctim.tv_nsec && before(stamp.changed, taken_);
}

bool TreeStamps::same_inode(const std::string& path, const struct stat& info) const {
  const auto found = stamps_.find(path);
  return found != stamps_.end() && found->second.inode == info.st_ino;
}

}  // namespace imgbuild::builder
