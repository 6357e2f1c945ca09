#include "parser/duration.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::parser {

namespace {

constexpr std::uint64_t kMicrosecond = 1'000;
constexpr std::uint64_t kMillisecond = 1'000 * kMicrosecond;
constexpr std::uint64_t kSecond = 1'000 * kMillisecond;
constexpr std::uint64_t kMinute = 60 * kSecond;
constexpr std::uint64_t kHour = 60 * kMinute;
constexpr std::uint64_t kMostNegative = std::uint64_t{1} << 63;

[[noreturn]] void fail(std::string_view reason, std::string_view text) {
  throw SyntaxError(cat("time: ", reason, " \"", printable(text), "\""));
}

std::optional<std::uint64_t> unit_size(std::string_view unit) {
  if (unit == "ns") return 1;
  if (unit == "us" || unit == "\u00B5s" || unit == "\u03BCs") return kMicrosecond;
  if (unit == "ms") return kMillisecond;
  if (unit == "s") return kSecond;
  if (unit == "m") return kMinute;
  if (unit == "h") return kHour;
  return std::nullopt;
}

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

/// Takes the digits off the start of `rest`.
std::string_view take_digits(std::string_view& rest) {
  std::size_t length = 0;
  while (length < rest.size() && is_ascii_digit(rest[length])) ++length;
  const std::string_view digits = rest.substr(0, length);
  rest.remove_prefix(length);
  return digits;
}

/// The whole part times the unit plus what the digits behind the point are worth.
std::uint64_t scaled(std::string_view whole, std::string_view fraction, std::uint64_t unit,
                     std::string_view text) {
  std::uint64_t value = 0;
  if (!whole.empty()) {
    const auto number = parse_decimal(whole);
    if (!number || *number > kMostNegative / unit) fail("invalid duration", text);
    value = *number * unit;
  }
  double scale = static_cast<double>(unit);
  double extra = 0;
  for (const char c : fraction.substr(0, 18)) {
    scale /= 10;
    extra += scale * (c - '0');
  }
  return value + static_cast<std::uint64_t>(extra + 1e-6);
}

void append_fraction(std::string& out, std::uint64_t value, std::uint64_t unit, std::string_view name) {
  out += cat(value / unit);
  std::string fraction = cat(unit + value % unit).substr(1);
  fraction.erase(fraction.find_last_not_of('0') + 1);
  if (!fraction.empty()) out += cat(".", fraction);
  out += name;
}

}  // namespace

std::int64_t parse_go_duration(std::string_view text) {
  std::string_view rest = text;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest == "0") return 0;
  if (rest.empty()) fail("invalid duration", text);

  std::uint64_t total = 0;
  while (!rest.empty()) {
    const std::string_view whole = take_digits(rest);
    std::string_view fraction;
    if (rest.starts_with('.')) {
      rest.remove_prefix(1);
      fraction = take_digits(rest);
    }
    if (whole.empty() && fraction.empty()) fail("invalid duration", text);
    const std::string_view unit = rest.substr(0, rest.find_first_of(".0123456789"));
    if (unit.empty()) fail("missing unit in duration", text);
    const auto size = unit_size(unit);
    if (!size)
      throw SyntaxError(
          cat("time: unknown unit \"", printable(unit), "\" in duration \"", printable(text), "\""));
    rest.remove_prefix(unit.size());
    total += scaled(whole, fraction, *size, text);
    if (total > kMostNegative) fail("invalid duration", text);
  }
  if (negative) return static_cast<std::int64_t>(-total);
  if (total == kMostNegative) fail("invalid duration", text);
  return static_cast<std::int64_t>(total);
}

std::string format_go_duration(std::int64_t nanoseconds) {
  if (nanoseconds == 0) return "0s";
  const bool negative = nanoseconds < 0;
  std::uint64_t value = static_cast<std::uint64_t>(nanoseconds);
  if (negative) value = -value;
  std::string out = negative ? "-" : "";
  if (value < kMicrosecond) return out + cat(value, "ns");
  if (value < kMillisecond) return append_fraction(out, value, kMicrosecond, "\u00B5s"), out;
  if (value < kSecond) return append_fraction(out, value, kMillisecond, "ms"), out;
  if (value >= kHour) out += cat(value / kHour, "h");
  if (value >= kMinute) out += cat(value % kHour / kMinute, "m");
  append_fraction(out, value % kMinute, kSecond, "s");
  return out;
}

}  // namespace imgbuild::parser
