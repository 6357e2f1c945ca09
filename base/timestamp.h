#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace imgbuild {

/// A point in time as files and images record it: seconds since 1970 UTC (may be negative) and nanoseconds.
struct Timestamp {
  std::int64_t seconds = 0;
  std::uint32_t nanoseconds = 0;  ///< 0…999 999 999
  auto operator<=>(const Timestamp&) const = default;
};

/// RFC 3339 in UTC with `Z`, fraction without trailing zeros, none when it is zero (IMG-25).
std::string format_rfc3339(const Timestamp& time);
/// Accepts any offset and 0 to 9 fraction digits. Throws Error otherwise.
Timestamp parse_rfc3339(std::string_view text);
/// The wall clock. Below `cli/` only `builder::Host::clock` may be asked; this is what it is made of.
Timestamp wall_clock_now();

}  // namespace imgbuild
