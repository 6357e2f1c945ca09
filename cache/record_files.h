#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/digest.h"
#include "cache/cache_store.h"

namespace imgbuild::cache {

/// A file below `cache/` of the store.
struct RecordFile {
  std::string path;  ///< below `cache/`
  std::uint64_t inode = 0;
  std::uint64_t disk_bytes = 0;  ///< 0 unless asked for
  std::int64_t modified = 0;     ///< seconds since 1970; 0 unless asked for
};

/// Lists the files that have the names of records, in no order. `with_sizes` costs a system call each.
void list_record_files(int store_root, bool with_sizes, const std::function<void(const RecordFile&)>& visit);
/// The record in a listed file; nothing when the file is no undamaged record of the key it is named after.
std::optional<CacheRecord> read_record_file(int store_root, const RecordFile& file);

/// Removes the slots none of whose keys `is_kept`. Returns how many bytes of disk that freed.
std::uint64_t remove_empty_slots(int store_root, const std::function<bool(const Digest&)>& is_kept);

}  // namespace imgbuild::cache
