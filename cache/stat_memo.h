#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/digest.h"
#include "base/store_dir.h"
#include "base/timestamp.h"

namespace imgbuild::cache {

/// What must be equal for a file's digest to be believed without reading it.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  Timestamp mtime;
  Timestamp ctime;
  bool operator==(const FileIdentity&) const = default;
};

/// Remembers content digests of local files, so that unchanged files are not read again. One memory-mapped
/// index in the store, shared by processes. An entry is only kept when the file was already older than the
/// clock's grain at the time it was read, so that a same-size edit within one tick is noticed. Thread-safe.
class StatMemo {
 public:
  virtual ~StatMemo() = default;
  virtual std::optional<Digest> find(const FileIdentity& file) const = 0;
  /// `read_at` is the wall clock taken before the file was opened for hashing.
  virtual void remember(const FileIdentity& file, const Digest& content, const Timestamp& read_at) = 0;
  /// Publishes what was remembered. Called once at the end of a build.
  virtual void save() = 0;
};

/// More entries than this are not kept; those unused for the longest time go first.
inline constexpr std::size_t kMaxMemoEntries = 1'000'000;

/// The memo in the file `stat-memo` of the store directory `store_root` (kept open as a duplicate). A file
/// that is missing, damaged or of another version is an empty memo; opening costs the same for any size.
/// save() joins what other processes saved meanwhile; when the disk does not take it, the memo stays as it
/// was, which costs only time. Format: docs/formats/stat-memo.md. Throws SystemError only when `store_root`
/// itself cannot be used.
std::unique_ptr<StatMemo> open_stat_memo(const StoreDir& store, std::size_t max_entries = kMaxMemoEntries);

/// Whether a digest read at `read_at` may be believed for `file` from then on: a later write must give
/// another mtime or ctime, so both have to be older than the grain of the clock that stamped them.
bool is_settled(const FileIdentity& file, const Timestamp& read_at) noexcept;

}  // namespace imgbuild::cache
