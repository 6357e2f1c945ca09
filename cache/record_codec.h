#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cache/cache_store.h"

namespace imgbuild::cache {

/// Bytes of a stored record; longer files are not read.
inline constexpr std::uint64_t kMaxRecordBytes = 16u << 20;

/// A record as docs/formats/cache-record.md lays it out.
std::string encode_record(const CacheRecord& record);
/// Nothing for bytes that are no whole, undamaged record of this version.
std::optional<CacheRecord> decode_record(std::string_view bytes);

}  // namespace imgbuild::cache
