#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace imgbuild {

namespace detail {
inline void append(std::string& out, std::string_view text) { out += text; }
inline void append(std::string& out, char c) { out += c; }
template <std::integral T>
requires(!std::same_as<T, char> && !std::same_as<T, bool>) void append(std::string& out, T number) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  out.append(digits, end);
}
}  // namespace detail

/// Joins strings, characters and integers into one string.
template <typename... Parts>
std::string cat(const Parts&... parts) {
  std::string out;
  (detail::append(out, parts), ...);
  return out;
}

/// Splits at every `separator`; "a,,b" gives three parts, "" gives one empty part.
std::vector<std::string_view> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);

/// ASCII only, independent of any locale.
std::string to_lower(std::string_view text);
std::string to_upper(std::string_view text);
bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;
/// Removes blanks (space, tab, CR, LF, VT, FF) from both ends.
std::string_view trim(std::string_view text) noexcept;

std::string pad_left(std::string_view text, std::size_t width);
std::string pad_right(std::string_view text, std::size_t width);

/// A decimal number that fills the whole text, without sign, blanks or overflow; otherwise nothing.
std::optional<std::uint64_t> parse_decimal(std::string_view text) noexcept;

/// Text that is safe to print on a terminal: control characters, ill-formed UTF-8 and direction marks become
/// `\n`, `\t`, `\x1b`… escapes; everything else is kept.
std::string printable(std::string_view text);
/// How many terminal columns valid UTF-8 `text` takes, one a code point (wide characters count two).
std::size_t display_width(std::string_view text) noexcept;

std::string to_hex(std::string_view bytes);

/// `1536` -> "1.5 KiB". For people, never for machines.
std::string human_size(std::uint64_t bytes);

/// Levenshtein distance in bytes, ASCII letters compared without case.
std::size_t edit_distance(std::string_view a, std::string_view b);
/// The candidate nearest to `word`, if its distance is below `limit` (dockerfile.md, PAR-41 uses 3).
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates,
                                   std::size_t limit = 3);

}  // namespace imgbuild
