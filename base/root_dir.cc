#include "base/root_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/path_walk.h"

namespace imgbuild {

namespace {

constexpr std::uint64_t kInRoot = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
constexpr std::uint64_t kBeneath = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;

UniqueFd try_openat2(int dir, const std::string& path, int flags, unsigned mode, std::uint64_t resolve) {
  struct open_how how {};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? mode : 0;
  how.resolve = resolve;
  // The kernel answers EAGAIN when a rename elsewhere in the tree races with `..` (FS-1).
  for (int attempt = 0; attempt < 128; ++attempt) {
    const long fd = ::syscall(SYS_openat2, dir, path.c_str(), &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    if (errno != EAGAIN && errno != EINTR) break;
  }
  return UniqueFd();
}

/// Old kernels lack the call, and filters of outer sandboxes answer it with either error whatever is asked.
bool lacks_openat2() {
  static const bool lacks =
      !try_openat2(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0, 0) && (errno == ENOSYS || errno == EPERM);
  return lacks;
}

UniqueFd openat2(int dir, const std::string& path, int flags, unsigned mode, std::uint64_t resolve) {
  UniqueFd fd = try_openat2(dir, path, flags, mode, resolve);
  if (fd || (errno != ENOSYS && errno != EPERM)) return fd;
  const int error_number = errno;
  if (lacks_openat2())
    return resolve == kInRoot ? walk_in_root(dir, path, flags, mode) : walk_beneath(dir, path, flags, mode);
  errno = error_number;
  return fd;
}

std::string or_dot(std::string_view path) { return path.empty() ? std::string(".") : std::string(path); }

struct DirCloser {
  void operator()(DIR* dir) const noexcept { ::closedir(dir); }
};

/// One directory on the way down while a tree is removed.
struct Level {
  std::unique_ptr<DIR, DirCloser> dir;
  std::string name;
};

std::unique_ptr<DIR, DirCloser> open_dir_for_removal(int parent, const std::string& name) {
  int fd = ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && errno == EACCES) {
    (void)::fchmodat(parent, name.c_str(), 0700, 0);  // ours, but made unreadable by its owner
    fd = ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  }
  if (fd < 0) return nullptr;
  DIR* dir = ::fdopendir(fd);
  if (dir == nullptr) ::close(fd);
  return std::unique_ptr<DIR, DirCloser>(dir);
}

}  // namespace

RootDir RootDir::open(const std::string& path) { return RootDir(open_path(path, O_PATH | O_DIRECTORY)); }

UniqueFd RootDir::open_in_root(std::string_view path, int flags, unsigned mode) const {
  UniqueFd fd = openat2(dir_.get(), or_dot(path), flags, mode, kInRoot);
  if (!fd) throw SystemError(errno, "open", path);
  return fd;
}

UniqueFd RootDir::open_in_root_if_exists(std::string_view path, int flags) const {
  UniqueFd fd = openat2(dir_.get(), or_dot(path), flags, 0, kInRoot);
  if (!fd && errno != ENOENT && errno != ENOTDIR) throw SystemError(errno, "open", path);
  return fd;
}

UniqueFd RootDir::open_beneath(std::string_view path, int flags, unsigned mode) const {
  UniqueFd fd = openat2(dir_.get(), or_dot(path), flags, mode, kBeneath);
  if (!fd) throw SystemError(errno, "open", path);
  return fd;
}

void remove_tree_at(int dir, const std::string& name) {
  if (::unlinkat(dir, name.c_str(), 0) == 0 || errno == ENOENT) return;
  if (errno != EISDIR && errno != EPERM) throw SystemError(errno, "remove", name);

  std::vector<Level> levels;
  const auto parent_fd = [&] { return levels.empty() ? dir : ::dirfd(levels.back().dir.get()); };
  const auto enter = [&](const std::string& child) {
    auto opened = open_dir_for_removal(parent_fd(), child);
    if (!opened) throw SystemError(errno, "remove", child);
    (void)::fchmod(::dirfd(opened.get()), 0700);
    levels.push_back({std::move(opened), child});
  };

  enter(name);
  while (!levels.empty()) {
    DIR* current = levels.back().dir.get();
    errno = 0;
    const dirent* entry = ::readdir(current);
    if (entry == nullptr) {
      if (errno != 0) throw SystemError(errno, "read directory", levels.back().name);
      const std::string finished = levels.back().name;
      levels.pop_back();
      if (::unlinkat(parent_fd(), finished.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
        throw SystemError(errno, "remove", finished);
      }
      continue;
    }
    const std::string child = entry->d_name;
    if (child == "." || child == "..") continue;
    if (::unlinkat(::dirfd(current), child.c_str(), 0) == 0 || errno == ENOENT) continue;
    if (errno != EISDIR && errno != EPERM) throw SystemError(errno, "remove", child);
    enter(child);
  }
}

}  // namespace imgbuild
