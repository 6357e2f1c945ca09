#include "base/dir_list.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild {

namespace {

constexpr std::size_t kListBuffer = 64 * 1024;

struct RawDirent {  // as getdents64 writes it
  std::uint64_t inode;
  std::int64_t offset;
  unsigned short length;
  unsigned char type;
  char name[1];
};

struct CloseDir {
  void operator()(DIR* dir) const noexcept { ::closedir(dir); }
};

}  // namespace

void list_dir(int dir, const std::function<void(const DirEntry&)>& visit) {
  UniqueFd copy(::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::unique_ptr<DIR, CloseDir> list(copy ? ::fdopendir(copy.get()) : nullptr);
  if (!list) throw SystemError(errno, "list", "directory");
  (void)copy.release();
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(list.get());
    if (entry == nullptr && errno != 0) throw SystemError(errno, "list", "directory");
    if (entry == nullptr) return;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") visit({std::string(name), entry->d_ino});
  }
}

void list_names(int dir, std::string_view path,
                const std::function<void(const char* name, unsigned char type)>& visit) {
  const auto buffer = std::make_unique_for_overwrite<char[]>(kListBuffer);
  for (;;) {
    const long got = ::syscall(SYS_getdents64, dir, buffer.get(), kListBuffer);
    if (got < 0) throw SystemError(errno, "read directory", printable(path));
    if (got == 0) return;
    for (long at = 0; at < got;) {
      const char* const record = buffer.get() + at;
      unsigned short length = 0;  // records are not aligned for the compiler's taste
      std::memcpy(&length, record + offsetof(RawDirent, length), sizeof length);
      const auto type = static_cast<unsigned char>(record[offsetof(RawDirent, type)]);
      const char* const name = record + offsetof(RawDirent, name);
      if (std::strcmp(name, ".") != 0 && std::strcmp(name, "..") != 0) visit(name, type);
      at += length;
    }
  }
}

std::uint64_t DiskUsage::one(int dir, const std::string& name) {
  struct stat info {};
  if (::fstatat(dir, name.c_str(), &info, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) return 0;
  if (!S_ISDIR(info.st_mode) && info.st_nlink > 1 && !seen_.insert(cat(info.st_dev, ":", info.st_ino)).second)
    return 0;
  return static_cast<std::uint64_t>(info.st_blocks) * 512;
}

std::uint64_t DiskUsage::tree(int dir, const std::string& name) {
  std::uint64_t total = one(dir, name);
  struct Level {
    UniqueFd fd;
    std::vector<std::string> names;
  };
  struct stat top {};
  const auto enter = [&](int parent, const std::string& child, std::vector<Level>& levels) {
    UniqueFd fd(::openat(parent, child.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat info {};
    if (!fd || ::fstat(fd.get(), &info) != 0) return;
    if (levels.empty())
      top = info;
    else if (info.st_dev != top.st_dev)
      return;
    Level level{std::move(fd), {}};
    try {
      list_dir(level.fd.get(), [&](const DirEntry& entry) { level.names.push_back(entry.name); });
    } catch (const SystemError&) {
      return;  // it went away meanwhile
    }
    levels.push_back(std::move(level));
  };
  std::vector<Level> levels;
  enter(dir, name, levels);
  while (!levels.empty()) {
    if (levels.back().names.empty()) {
      levels.pop_back();
      continue;
    }
    const std::string child = std::move(levels.back().names.back());
    levels.back().names.pop_back();
    const int parent = levels.back().fd.get();
    struct stat info {};
    if (::fstatat(parent, child.c_str(), &info, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) continue;
    if (S_ISDIR(info.st_mode)) {
      total += static_cast<std::uint64_t>(info.st_blocks) * 512;
      enter(parent, child, levels);
    } else if (info.st_nlink < 2 || seen_.insert(cat(info.st_dev, ":", info.st_ino)).second) {
      total += static_cast<std::uint64_t>(info.st_blocks) * 512;
    }
  }
  return total;
}

}  // namespace imgbuild
