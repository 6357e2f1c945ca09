#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_set>

#include "base/digest.h"
#include "base/unique_fd.h"

namespace imgbuild {

/// Locks named by numbers instead of files: lock *n* is the byte at offset *n* of one file that stays empty
/// (OFD range locks, STO-20). A lock costs one system call, leaves nothing on the disk and dies with its
/// owner, so there is nothing to sweep after a crash. Everything locked through one object belongs to one
/// owner; another object, also in the same process, is another owner. Thread-safe.
class KeyLocks {
 public:
  static constexpr std::uint64_t kKeys = std::uint64_t{1} << 62;  ///< keys are below this, some are above

  /// The key of what a digest names. Two may share one, which locks more than needed and nothing less.
  static std::uint64_t key_of(const Digest& digest) noexcept { return std::hash<Digest>()(digest) % kKeys; }

  /// Opens `dir`/`name`, making it where it is missing. Throws SystemError, or Error when the name belongs to
  /// something else than a file (ATK-142). `stop` ends waits.
  KeyLocks(int dir, const std::string& name, std::stop_token stop = {});
  /// The same, nothing when the file is missing; for stores that cannot be written.
  static std::optional<KeyLocks> open_existing(int dir, const std::string& name, std::stop_token stop = {});
  KeyLocks(KeyLocks&& other) noexcept;

  /// Shared, as long as this object lives. Waits for one who took it exclusively. Throws Cancelled.
  void hold(std::uint64_t key);
  /// Exclusive; false when another owner has it in any way. Throws SystemError where the file is read-only.
  bool try_take(std::uint64_t key);
  /// Exclusive; waits. Throws Cancelled.
  void take(std::uint64_t key);
  /// Gives back what hold() or take() got.
  void release(std::uint64_t key);
  /// Whether another owner has the lock, shared or not.
  bool is_held_by_others(std::uint64_t key) const;
  /// The file could be opened for reading only: locks can be held, not taken.
  bool read_only() const noexcept { return read_only_; }

 private:
  KeyLocks(UniqueFd file, std::string name, std::stop_token stop);
  bool lock(std::uint64_t key, short type);
  void wait(std::uint64_t key, short type);

  UniqueFd file_;
  std::string name_;
  std::stop_token stop_;
  bool read_only_ = false;
  std::mutex mutex_;
  std::unordered_set<std::uint64_t> held_;
};

}  // namespace imgbuild
