#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <climits>
#include <cstdint>
#include <cstring>

#include "builder/launcher/request.h"

namespace imgbuild::launch {

namespace {

constexpr int kKernelLinks = 40;
constexpr std::size_t kMaxPath = 4096;

int openat2(int dir, const char* path, int flags, std::uint64_t resolve) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.resolve = resolve;
  return static_cast<int>(::syscall(SYS_openat2, dir, path, &how, sizeof how));
}

/// Whether openat2 is refused whatever it is asked, as old kernels and outer filters do.
bool lacks_openat2() {
  const int kept = errno;
  const int fd = openat2(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
  const bool lacks = fd < 0 && (errno == ENOSYS || errno == EPERM);
  if (fd >= 0) ::close(fd);
  errno = kept;
  return lacks;
}

bool is_refused(int fd) { return fd < 0 && (errno == ENOSYS || errno == EPERM) && lacks_openat2(); }

void close_keeping_errno(int fd) {
  const int kept = errno;
  ::close(fd);
  errno = kept;
}

/// The next name of `rest`, which is moved behind it. False at the end.
bool next_name(const char*& rest, char (&name)[NAME_MAX + 1]) {
  while (*rest == '/') ++rest;
  const std::size_t length = std::strcspn(rest, "/");
  if (length == 0) return false;
  if (length > NAME_MAX) {
    name[0] = '\0';
    return true;
  }
  std::memcpy(name, rest, length);
  name[length] = '\0';
  rest += length;
  while (*rest == '/') ++rest;
  return true;
}

/// Down from `dir`, through directories only: no link, no `..`.
int walk_strictly(int dir, const char* path, int flags) {
  int here = ::openat(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  char name[NAME_MAX + 1];
  while (here >= 0 && next_name(path, name)) {
    const bool last = *path == '\0';
    int next = -1;
    if (name[0] == '\0')
      errno = ENAMETOOLONG;
    else if (std::strcmp(name, "..") == 0)
      errno = EXDEV;
    else
      next = ::openat(here, name, (last ? flags : O_PATH | O_DIRECTORY) | O_NOFOLLOW | O_CLOEXEC);
    close_keeping_errno(here);
    here = next;
    struct stat info {};
    const bool wants_link = (flags & O_NOFOLLOW) != 0;
    if (here >= 0 && last && !wants_link && ::fstat(here, &info) == 0 && S_ISLNK(info.st_mode)) {
      ::close(here);
      errno = ELOOP;
      return -1;
    }
  }
  return here;
}

/// Puts `target` in front of `rest` in `buffer`, of which `rest` is a part.
bool splice(char (&buffer)[2 * kMaxPath], const char*& rest, const char* target) {
  char joined[2 * kMaxPath];
  const std::size_t front = std::strlen(target), back = std::strlen(rest);
  if (front + back + 2 > sizeof joined) {
    errno = ENAMETOOLONG;
    return false;
  }
  std::memcpy(joined, target, front);
  joined[front] = '/';
  std::memcpy(joined + front + 1, rest, back + 1);
  std::memcpy(buffer, joined, front + back + 2);
  rest = buffer;
  return true;
}

/// In our own root, where `..` cannot lead out. No link of a procfs is followed.
int walk_no_magic(const char* path, int flags) {
  static char buffer[2 * kMaxPath];
  if (std::strlen(path) >= kMaxPath) {
    errno = ENAMETOOLONG;
    return -1;
  }
  std::strcpy(buffer, path);
  const char* rest = buffer;
  int here = ::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  int links = 0;
  char name[NAME_MAX + 1];
  while (here >= 0 && next_name(rest, name)) {
    int next = ::openat(here, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat info {};
    if (next < 0 || ::fstat(next, &info) != 0) {
      close_keeping_errno(here);
      return -1;
    }
    if (!S_ISLNK(info.st_mode)) {
      ::close(here);
      here = next;
      continue;
    }
    char target[kMaxPath];
    struct statfs fs {};
    const ssize_t size = ::readlinkat(next, "", target, sizeof target - 1);
    const bool magic = ::fstatfs(next, &fs) != 0 || fs.f_type == PROC_SUPER_MAGIC;
    ::close(next);
    if (size <= 0 || magic || ++links > kKernelLinks) {
      ::close(here);
      errno = ELOOP;
      return -1;
    }
    target[size] = '\0';
    if (!splice(buffer, rest, target)) {
      close_keeping_errno(here);
      return -1;
    }
    if (target[0] == '/') {
      ::close(here);
      here = ::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
  }
  if (here < 0) return -1;
  const int opened = ::openat(here, ".", flags | O_CLOEXEC);
  close_keeping_errno(here);
  return opened;
}

}  // namespace

int open_beneath(int dir, const char* path, int flags) {
  const int fd = openat2(dir, path, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
  return is_refused(fd) ? walk_strictly(dir, path, flags) : fd;
}

int open_in_root(int dir, const char* path, int flags) {
  const int fd = openat2(dir, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  return is_refused(fd) ? walk_strictly(dir, path, flags) : fd;
}

int open_no_magic(const char* path, int flags) {
  const int fd = openat2(AT_FDCWD, path, flags, RESOLVE_NO_MAGICLINKS);
  return is_refused(fd) ? walk_no_magic(path, flags) : fd;
}

}  // namespace imgbuild::launch
