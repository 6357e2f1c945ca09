#pragma once

#include <cstdint>
#include <stop_token>
#include <string>

#include "base/key_locks.h"
#include "base/unique_fd.h"

namespace imgbuild::builder {

// Keys of `locks/store` that are no blob's (docs/formats/store.md).
inline constexpr std::uint64_t kStoreLock = KeyLocks::kKeys;       ///< shared by every user of the store
inline constexpr std::uint64_t kFormatLock = KeyLocks::kKeys + 1;  ///< exclusive while `format` changes
inline constexpr std::uint64_t kPruneLock = KeyLocks::kKeys + 2;   ///< exclusive: who removes things

/// The directory of a store, open, with what its `format` file says (docs/formats/store.md).
struct StoreRoot {
  UniqueFd dir;
  std::string path;
  /// Counts the boots of the machine since the store exists. What was published without being synced carries
  /// the epoch it was published in, and is only believed without a look at its bytes in that epoch (STO-8).
  std::uint64_t epoch = 1;
  bool read_only = false;
  /// Holds the store itself, shared (STO-20). Whoever uses a blob holds its lock, KeyLocks::key_of(), shared;
  /// whoever removes one takes it exclusively (STO-21).
  KeyLocks locks;
};

/// Opens the store at `path`, making it or bringing it to the present format where that is needed (STO-1,
/// STO-2). Refuses, without touching anything, a directory that belongs to somebody else, can be written by
/// others, has links in place of its folders (ATK-140) or was made by a newer version (FLT-18). `stop` ends
/// waits.
StoreRoot open_store_root(const std::string& path, std::stop_token stop = {});

}  // namespace imgbuild::builder
