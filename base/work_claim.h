#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/digest.h"
#include "base/file_lock.h"

namespace imgbuild {

/// The right to make what a key stands for, while others wait for the result. All keys of a kind share one
/// file of bounded size: the lock is a byte of it (FileLock::try_acquire_key), and a table at its beginning
/// says for people who holds it, and for those who waited whether the owner failed. Losing the table costs
/// work, never correctness. Move-only.
///
/// An owner that is killed leaves no trace: the next one who waits becomes owner. One that failed says so;
/// then those who waited may give the lock back and go on side by side, as if nobody had been there before.
class WorkClaim {
 public:
  /// Waits for the lock of `key` in the file `name` below `dir`. Throws Cancelled, SystemError.
  static WorkClaim acquire(int dir, const std::string& name, const Digest& key, const LockWait& wait = {});
  /// Nothing when somebody else has it.
  static std::optional<WorkClaim> try_acquire(int dir, const std::string& name, const Digest& key);

  /// Whether an owner failed while this lock was waited for.
  bool owner_failed() const noexcept { return owner_failed_; }
  /// Tells those who wait that there will be no result. Never throws.
  void fail() noexcept;

 private:
  WorkClaim(FileLock lock, std::uint64_t hash, bool owner_failed) noexcept
      : lock_(std::move(lock)), hash_(hash), owner_failed_(owner_failed) {}
  FileLock lock_;
  std::uint64_t hash_;
  bool owner_failed_;
};

}  // namespace imgbuild
