#include "base/file_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/lock_poll.h"
#include "base/strings.h"

namespace imgbuild {

namespace {

void note_owner(int fd) {
  std::string line = cat(::getpid());
  line.resize(11, ' ');
  line += '\n';
  (void)!::pwrite(fd, line.data(), line.size(), 0);  // for people only: a full disk must not stop anybody
}

pid_t noted_owner(int fd) {
  char text[12] = {};
  if (::pread(fd, text, sizeof text - 1, 0) <= 0) return 0;
  return static_cast<pid_t>(parse_decimal(trim(std::string_view(text))).value_or(0));
}

}  // namespace

std::optional<FileLock> FileLock::try_acquire(int dir, const std::string& name, Kind kind) {
  UniqueFd fd = open_at(dir, name, O_RDWR | O_CREAT, 0600);
  if (!try_lock(fd.get(), kind == Kind::exclusive, kWholeFile, name)) return std::nullopt;
  return FileLock(std::move(fd));
}

FileLock FileLock::acquire(int dir, const std::string& name, Kind kind, const LockWait& wait) {
  UniqueFd fd = open_at(dir, name, O_RDWR | O_CREAT, 0600);
  poll_for_lock(
      wait, [&] { return try_lock(fd.get(), kind == Kind::exclusive, kWholeFile, name); },
      [&] { return noted_owner(fd.get()); });
  if (kind == Kind::exclusive && wait.on_long) note_owner(fd.get());
  return FileLock(std::move(fd));
}

std::optional<FileLock> FileLock::try_acquire_key(int dir, const std::string& name, std::uint64_t key) {
  UniqueFd fd = open_at(dir, name, O_RDWR | O_CREAT, 0600);
  if (!try_lock(fd.get(), true, range_of_key(key), name)) return std::nullopt;
  return FileLock(std::move(fd));
}

}  // namespace imgbuild
