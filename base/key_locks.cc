#include "base/key_locks.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild {

namespace {

struct flock byte_at(std::uint64_t key, short type) {
  struct flock request {};
  request.l_type = type;
  request.l_whence = SEEK_SET;
  request.l_start = static_cast<off_t>(key);
  request.l_len = 1;
  return request;
}

UniqueFd require_file(UniqueFd fd, const std::string& name) {
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) throw SystemError(errno, "stat", name);
  if (!S_ISREG(info.st_mode))
    throw Error(cat("the lock \"", printable(name), "\" is no file"), ExitCode::system);
  return fd;
}

}  // namespace

KeyLocks::KeyLocks(UniqueFd file, std::string name, std::stop_token stop)
    : file_(require_file(std::move(file), name)), name_(std::move(name)), stop_(std::move(stop)) {}

KeyLocks::KeyLocks(int dir, const std::string& name, std::stop_token stop)
    : KeyLocks(open_at(dir, name, O_RDWR | O_CREAT | O_NONBLOCK | O_NOCTTY, 0600), name, std::move(stop)) {}

std::optional<KeyLocks> KeyLocks::open_existing(int dir, const std::string& name, std::stop_token stop) {
  UniqueFd file(::openat(dir, name.c_str(), O_RDWR | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC));
  const bool read_only = !file && (errno == EROFS || errno == EACCES);
  if (read_only)
    file.reset(::openat(dir, name.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC));
  if (!file && errno == ENOENT) return std::nullopt;
  if (!file) throw SystemError(errno, "open", name);
  KeyLocks locks(std::move(file), name, std::move(stop));
  locks.read_only_ = read_only;
  return locks;
}

KeyLocks::KeyLocks(KeyLocks&& other) noexcept
    : file_(std::move(other.file_)),
      name_(std::move(other.name_)),
      stop_(std::move(other.stop_)),
      read_only_(other.read_only_),
      held_(std::move(other.held_)) {}

bool KeyLocks::lock(std::uint64_t key, short type) {
  struct flock request = byte_at(key, type);
  for (;;) {
    if (::fcntl(file_.get(), F_OFD_SETLK, &request) == 0) return true;
    if (errno == EAGAIN || errno == EACCES) return false;
    if (errno != EINTR) throw SystemError(errno, "lock", name_);
  }
}

void KeyLocks::wait(std::uint64_t key, short type) {
  // F_OFD_SETLKW cannot be woken by a stop token, so the wait polls with a growing pause.
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock guard(mutex);
  auto pause = std::chrono::milliseconds(1);
  while (!lock(key, type)) {
    wake.wait_for(guard, stop_, pause, [] { return false; });
    if (stop_.stop_requested()) throw Cancelled();
    pause = std::min(pause * 2, std::chrono::milliseconds(50));
  }
}

void KeyLocks::hold(std::uint64_t key) {
  {
    const std::lock_guard guard(mutex_);
    if (held_.contains(key)) return;
  }
  wait(key, F_RDLCK);
  const std::lock_guard guard(mutex_);
  held_.insert(key);
}

bool KeyLocks::try_take(std::uint64_t key) { return lock(key, F_WRLCK); }

void KeyLocks::take(std::uint64_t key) { wait(key, F_WRLCK); }

void KeyLocks::release(std::uint64_t key) {
  {
    const std::lock_guard guard(mutex_);
    held_.erase(key);
  }
  lock(key, F_UNLCK);
}

bool KeyLocks::is_held_by_others(std::uint64_t key) const {
  struct flock request = byte_at(key, F_WRLCK);
  if (::fcntl(file_.get(), F_OFD_GETLK, &request) != 0) throw SystemError(errno, "look at lock", name_);
  return request.l_type != F_UNLCK;
}

}  // namespace imgbuild
