#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>

#include "base/file_lock.h"

namespace imgbuild {

/// What of a file is locked.
struct LockRange {
  std::int64_t begin = 0;
  std::int64_t size = 0;  ///< 0: to the end, however long the file grows
};

inline constexpr LockRange kWholeFile{};

/// The byte that stands for `key`: far behind any data.
constexpr LockRange range_of_key(std::uint64_t key) {
  return {static_cast<std::int64_t>((std::uint64_t{1} << 62) | (key >> 2)), 1};
}

/// One try, without waiting. Throws SystemError when the file system has no such locks.
bool try_lock(int fd, bool exclusive, const LockRange& range, const std::string& name);

/// Tries until `try_once` says that it has the lock. Throws Cancelled when the stop is requested.
void poll_for_lock(const LockWait& wait, const std::function<bool()>& try_once,
                   const std::function<pid_t()>& owner);

}  // namespace imgbuild
