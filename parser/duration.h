#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace imgbuild::parser {

/// Nanoseconds of a duration as HEALTHCHECK writes it (MET-8): `1m30s`, `1.5h`, `-2us`, `0`. Units are
/// `ns us µs ms s m h`. Throws SyntaxError (no range).
std::int64_t parse_go_duration(std::string_view text);

/// The other way round, in the form image histories use: `1m30s`, `1.5s`, `0s`.
std::string format_go_duration(std::int64_t nanoseconds);

}  // namespace imgbuild::parser
