#include "base/unique_fd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild {

void UniqueFd::reset(int fd) noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

UniqueFd UniqueFd::duplicate() const {
  UniqueFd copy(::fcntl(fd_, F_DUPFD_CLOEXEC, 0));
  if (!copy) throw SystemError(errno, "duplicate descriptor");
  return copy;
}

UniqueFd open_at(int dir, const std::string& name, int flags, unsigned mode) {
  UniqueFd fd(::openat(dir, name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd) throw SystemError(errno, "open", name);
  return fd;
}

UniqueFd open_at_if_exists(int dir, const std::string& name, int flags) {
  UniqueFd fd(::openat(dir, name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW));
  if (!fd && errno != ENOENT) throw SystemError(errno, "open", name);
  return fd;
}

UniqueFd open_path(const std::string& path, int flags, unsigned mode) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd) throw SystemError(errno, "open", path);
  return fd;
}

void ensure_dir_at(int dir, const std::string& name, unsigned mode) {
  if (::mkdirat(dir, name.c_str(), mode) != 0 && errno != EEXIST)
    throw SystemError(errno, "create directory", name);
}

std::string read_file(int fd, std::uint64_t limit, std::string_view name) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) throw SystemError(errno, "stat", name);
  if (!S_ISREG(info.st_mode)) throw Error(cat(printable(name), " is not a regular file"));
  std::string text;
  text.resize(
      static_cast<std::size_t>(std::min<std::uint64_t>(static_cast<std::uint64_t>(info.st_size), limit)) + 1);
  std::size_t used = 0;
  for (;;) {
    const ssize_t got = ::read(fd, text.data() + used, text.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw SystemError(errno, "read", name);
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
    if (used > limit) throw Error(cat(printable(name), " is larger than ", human_size(limit)));
    if (used == text.size()) text.resize(text.size() * 2);
  }
  text.resize(used);
  return text;
}

std::string read_file_at(int dir, const std::string& name, std::uint64_t limit) {
  const UniqueFd fd = open_at(dir, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  return read_file(fd.get(), limit, name);
}

void write_all(int fd, std::string_view bytes, std::string_view name) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw SystemError(errno, "write", name);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
}

}  // namespace imgbuild
