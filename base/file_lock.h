#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "base/unique_fd.h"

namespace imgbuild {

/// How to wait for a lock.
struct LockWait {
  std::stop_token stop = {};  ///< ends the wait with Cancelled
  std::function<void(pid_t)> on_long =
      {};  ///< called once, after two seconds, with the owner, 0 if unknown (STO-24)
};

/// An open-file-description lock on a file that is never deleted while the store exists (STO-20), or on one
/// key out of very many in such a file, where nobody wants a file for each. It dies with its owner, so no
/// crash leaves it behind; two holders in one process exclude each other like two processes. Move-only.
class FileLock {
 public:
  enum class Kind { shared, exclusive };

  /// Waits until the lock is had; throws Cancelled when the stop is requested, SystemError when it cannot be.
  /// An exclusive owner that wants to hear of long waits leaves its process number for others who do.
  static FileLock acquire(int dir, const std::string& name, Kind kind, const LockWait& wait = {});
  /// Nothing when somebody else holds it.
  static std::optional<FileLock> try_acquire(int dir, const std::string& name, Kind kind);

  /// The lock of `key` in the file `name`: a range of it that no data lies in. Keys are hashes: two that are
  /// the same by accident only wait for one another.
  static std::optional<FileLock> try_acquire_key(int dir, const std::string& name, std::uint64_t key);

  int fd() const noexcept { return fd_.get(); }

 private:
  friend class WorkClaim;
  explicit FileLock(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace imgbuild
