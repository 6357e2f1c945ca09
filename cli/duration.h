#pragma once

#include <cstdint>
#include <string>

#include "base/timestamp.h"

namespace imgbuild::cli {

/// The second `--filter until=` means: a duration before `now` ("24h", "1h30m", "10d", "2w") or a time
/// ("2026-01-31T00:00:00Z", "2026-01-31", seconds since 1970). Throws Error (usage).
std::int64_t parse_past(const std::string& text, const Timestamp& now);

}  // namespace imgbuild::cli
