#include "base/file_lock.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "base/error.h"

namespace imgbuild {

namespace {

bool try_lock(int fd, FileLock::Kind kind, const std::string& name) {
  struct flock request {};
  request.l_type = kind == FileLock::Kind::shared ? F_RDLCK : F_WRLCK;
  request.l_whence = SEEK_SET;
  for (;;) {
    if (::fcntl(fd, F_OFD_SETLK, &request) == 0) return true;
    if (errno == EAGAIN || errno == EACCES) return false;
    if (errno != EINTR) throw SystemError(errno, "lock", name);
  }
}

}  // namespace

std::optional<FileLock> FileLock::try_acquire(int dir, const std::string& name, Kind kind) {
  UniqueFd fd = open_at(dir, name, O_RDWR | O_CREAT, 0600);
  if (!try_lock(fd.get(), kind, name)) return std::nullopt;
  return FileLock(std::move(fd));
}

FileLock FileLock::acquire(int dir, const std::string& name, Kind kind, std::stop_token stop) {
  UniqueFd fd = open_at(dir, name, O_RDWR | O_CREAT, 0600);
  // F_OFD_SETLKW cannot be woken by a stop token, so the wait polls with a growing pause.
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock guard(mutex);
  auto pause = std::chrono::milliseconds(1);
  while (!try_lock(fd.get(), kind, name)) {
    wake.wait_for(guard, stop, pause, [] { return false; });
    if (stop.stop_requested()) throw Cancelled();
    pause = std::min(pause * 2, std::chrono::milliseconds(50));
  }
  return FileLock(std::move(fd));
}

}  // namespace imgbuild
