#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "cache/stat_memo.h"

namespace imgbuild::cache {

/// One entry of the stat memo as it lies in the file, in the byte order of the machine
/// (docs/formats/stat-memo.md).
struct MemoEntry {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::int64_t mtime_seconds = 0;
  std::int64_t ctime_seconds = 0;
  std::uint32_t mtime_nanoseconds = 0;
  std::uint32_t ctime_nanoseconds = 0;
  std::array<std::byte, Digest::kSize> digest{};
  std::uint32_t generation = 0;  ///< of the file when the entry was last used
  std::uint32_t check = 0;       ///< CRC-32 of what is above

  static MemoEntry make(const FileIdentity& file, const Digest& digest, std::uint32_t generation);
  /// The same with another generation.
  MemoEntry in_generation(std::uint32_t number) const;
  bool intact() const noexcept;
  bool is(const FileIdentity& file) const noexcept;
  FileIdentity identity() const noexcept;
};
static_assert(sizeof(MemoEntry) == 88);

/// Where an inode's entry is looked for: entries ascend by this, then by device and inode.
std::uint64_t memo_hash(std::uint64_t device, std::uint64_t inode) noexcept;
bool memo_order(const MemoEntry& a, const MemoEntry& b) noexcept;

/// A stat memo file mapped read-only. Searched where it lies. Thread-safe.
class MemoFile {
 public:
  MemoFile() = default;  ///< no entries
  /// No entries when the file cannot be used.
  static MemoFile open(int dir, const std::string& name);
  MemoFile(MemoFile&& other) noexcept;
  MemoFile& operator=(MemoFile&& other) noexcept;
  ~MemoFile();

  std::span<const MemoEntry> entries() const noexcept { return entries_; }
  std::uint32_t generation() const noexcept { return generation_; }
  /// Index into entries() of the undamaged entry of exactly this file.
  std::optional<std::size_t> find(const FileIdentity& file) const noexcept;

 private:
  void* mapping_ = nullptr;
  std::size_t length_ = 0;
  std::uint32_t generation_ = 0;
  unsigned bucket_bits_ = 0;
  std::span<const std::uint32_t> buckets_;
  std::span<const MemoEntry> entries_;
};

/// The bytes of a file with `entries`, which must be in memo_order with one entry an inode.
std::string encode_memo(const std::vector<MemoEntry>& entries, std::uint32_t generation);

}  // namespace imgbuild::cache
