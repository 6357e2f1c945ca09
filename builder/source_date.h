#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace imgbuild::builder {

/// The value of SOURCE_DATE_EPOCH (SDE-2): decimal seconds, or `context` for the time of the main context,
/// which is nothing for a directory. Empty means: not set. Throws Error for anything else; times of named
/// contexts and stages are refused as not supported.
std::optional<std::int64_t> parse_source_date_epoch(std::string_view text,
                                                    std::optional<std::int64_t> context_time);

}  // namespace imgbuild::builder
