#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/digest.h"
#include "base/store_dir.h"
#include "base/timestamp.h"

namespace imgbuild {

/// Remembers in which order things were last used, so that what was not used for the longest time can be
/// removed first. The order is that of the entries in the file `uses`; the clock is kept for people and for
/// "older than", and decides no order (STO-35). A build appends once, at its end. Thread-safe. Format:
/// docs/formats/use-log.md.
class UseLog {
 public:
  struct Use {
    std::uint64_t order = 0;   ///< later uses have larger numbers
    std::int64_t seconds = 0;  ///< since 1970
  };
  using Uses = std::unordered_map<Digest, Use>;

  explicit UseLog(StoreDir dir) noexcept : dir_(std::move(dir)) {}

  void note(const Digest& what);
  /// Appends what was noted since the last time. A disk that does not take it costs a worse order and nothing
  /// else, so it never throws for that.
  void save(const Timestamp& now) noexcept;

  /// What all files so far say; nothing for one that is missing or damaged throughout.
  static Uses read(int dir);

 private:
  void append(const Timestamp& now);
  StoreDir dir_;
  std::mutex mutex_;
  std::unordered_set<Digest> noted_;
};

}  // namespace imgbuild
