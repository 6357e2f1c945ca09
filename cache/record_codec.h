#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cache/cache_store.h"

namespace imgbuild::cache {

/// A record as docs/formats/cache-record.md lays it out.
std::string encode_record(const CacheRecord& record);
/// Nothing for bytes that are no whole, undamaged record of this version.
std::optional<CacheRecord> decode_record(std::string_view bytes);

}  // namespace imgbuild::cache
