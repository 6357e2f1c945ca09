#include "parser/values.h"

#include <charconv>

#include "base/strings.h"

namespace imgbuild::parser {

std::optional<bool> parse_boolean(std::string_view text) noexcept {
  for (const std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"0", "f", "F", "false", "FALSE", "False"}) {
    if (text == no) return false;
  }
  return std::nullopt;
}

std::optional<std::uint32_t> parse_unsigned(std::string_view text, int base) noexcept {
  std::uint32_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number, base);
  if (text.empty() || error != std::errc() || stop != end) return std::nullopt;
  return number;
}

std::optional<std::uint64_t> parse_memory_size(std::string_view text) noexcept {
  const auto digits = text.find_first_not_of("0123456789.");
  const std::string_view number = text.substr(0, digits);
  std::string_view unit = digits == std::string_view::npos ? std::string_view() : text.substr(digits);
  if (unit.starts_with(' ')) unit.remove_prefix(1);

  double value = 0;
  const auto [stop, error] =
      std::from_chars(number.data(), number.data() + number.size(), value, std::chars_format::fixed);
  if (number.empty() || error != std::errc() || stop != number.data() + number.size()) return std::nullopt;

  constexpr std::string_view kUnits = "bkmgtp";
  if (!unit.empty()) {
    const char letter = static_cast<char>(unit.front() | 0x20);
    const auto power = kUnits.find(letter);
    if (power == std::string_view::npos) return std::nullopt;
    unit.remove_prefix(1);
    const bool may_follow =
        power > 0 && (unit.empty() || equal_ignoring_case(unit, "b") || equal_ignoring_case(unit, "ib"));
    if (!may_follow && !unit.empty()) return std::nullopt;
    for (std::size_t i = 0; i < power; ++i) value *= 1024;
  }
  constexpr double kTooLarge = 9223372036854775808.0;
  if (!(value < kTooLarge)) return std::nullopt;
  return static_cast<std::uint64_t>(value);
}

}  // namespace imgbuild::parser
