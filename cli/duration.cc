#include "cli/duration.h"

#include <optional>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::cli {

namespace {

std::optional<std::uint64_t> unit_seconds(char unit) {
  switch (unit) {
    case 's':
      return 1;
    case 'm':
      return 60;
    case 'h':
      return 3600;
    case 'd':
      return 86400;
    case 'w':
      return 604800;
    default:
      return std::nullopt;
  }
}

std::optional<std::int64_t> parse_duration(std::string_view text) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 40;
  std::uint64_t total = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    std::size_t digits = 0;
    while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
    const auto number = parse_decimal(text.substr(0, digits));
    if (!number || digits == text.size()) return std::nullopt;
    const auto unit = unit_seconds(text[digits]);
    if (!unit || *number > kMost / *unit) return std::nullopt;
    total += *number * *unit;
    if (total > kMost) return std::nullopt;
    text.remove_prefix(digits + 1);
  }
  return static_cast<std::int64_t>(total);
}

}  // namespace

std::int64_t parse_past(const std::string& text, const Timestamp& now) {
  if (const auto duration = parse_duration(text)) return now.seconds - *duration;
  if (const auto seconds = parse_decimal(text); seconds && *seconds < (std::uint64_t{1} << 40))
    return static_cast<std::int64_t>(*seconds);
  for (const auto& time : {text, cat(text, "T00:00:00Z")}) {
    try {
      return parse_rfc3339(time).seconds;
    } catch (const Error&) {
      continue;
    }
  }
  throw Error(cat("until wants a duration like 24h or a time like 2026-01-31T12:00:00Z, not \"",
                  printable(text), "\""),
              ExitCode::usage);
}

}  // namespace imgbuild::cli
