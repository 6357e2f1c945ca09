#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "base/unique_fd.h"

namespace imgbuild {

/// An open-file-description lock on a file that is never deleted while the store exists (STO-20). It dies
/// with its owner, so no crash leaves it behind. Move-only.
class FileLock {
 public:
  enum class Kind { shared, exclusive };

  /// Waits until the lock is had; throws Cancelled when `stop` is requested, SystemError when it cannot be.
  static FileLock acquire(int dir, const std::string& name, Kind kind, std::stop_token stop = {});
  /// Nothing when somebody else holds it.
  static std::optional<FileLock> try_acquire(int dir, const std::string& name, Kind kind);

 private:
  explicit FileLock(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace imgbuild
