#include "base/lock_poll.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "base/error.h"

namespace imgbuild {

namespace {

using namespace std::chrono_literals;

constexpr auto kLongestPause = 20ms;
constexpr auto kLongWait = 2s;  // STO-24

}  // namespace

bool try_lock(int fd, bool exclusive, const LockRange& range, const std::string& name) {
  struct flock request {};
  request.l_type = exclusive ? F_WRLCK : F_RDLCK;
  request.l_whence = SEEK_SET;
  request.l_start = range.begin;
  request.l_len = range.size;
  for (;;) {
    if (::fcntl(fd, F_OFD_SETLK, &request) == 0) return true;
    if (errno == EAGAIN || errno == EACCES) return false;
    if (errno != EINTR) throw SystemError(errno, "lock", name);
  }
}

void poll_for_lock(const LockWait& wait, const std::function<bool()>& try_once,
                   const std::function<pid_t()>& owner) {
  if (try_once()) return;
  // F_OFD_SETLKW cannot be woken by a stop token, so the wait polls with a growing pause.
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock guard(mutex);
  const auto begin = std::chrono::steady_clock::now();
  bool told = !wait.on_long;
  auto pause = 1ms;
  do {
    if (!told && std::chrono::steady_clock::now() - begin >= kLongWait) {
      told = true;
      wait.on_long(owner());
    }
    wake.wait_for(guard, wait.stop, pause, [] { return false; });
    if (wait.stop.stop_requested()) throw Cancelled();
    pause = std::min(pause * 2, std::chrono::milliseconds(kLongestPause));
  } while (!try_once());
}

}  // namespace imgbuild
