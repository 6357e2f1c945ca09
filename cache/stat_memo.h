#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/digest.h"
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

/// Remembers content digests of local files, so that unchanged files are not read again. One memory-mapped index
/// in the store, shared by processes. An entry is only kept when the file was already older than the clock's grain at the
/// time it was read, so that a same-size edit within one tick is noticed. Thread-safe.
class StatMemo {
 public:
  virtual ~StatMemo() = default;
  virtual std::optional<Digest> find(const FileIdentity& file) const = 0;
  /// `read_at` is the wall clock taken before the file was opened for hashing.
  virtual void remember(const FileIdentity& file, const Digest& content, const Timestamp& read_at) = 0;
  /// Publishes what was remembered. Called once at the end of a build.
  virtual void save() = 0;
};

}  // namespace imgbuild::cache
