#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace imgbuild::parser {

/// One character of a text that is meant to be UTF-8. An ill-formed byte is a character of its own with a
/// value above every code point, so that it equals only itself and survives a round trip (PAR-4).
struct CodePoint {
  char32_t value = 0;
  std::size_t length = 1;  ///< in bytes
};

inline constexpr char32_t kIllFormedBase = 0x110000;

/// The character at the start of `text`, which must not be empty.
CodePoint decode_code_point(std::string_view text) noexcept;
/// Appends the bytes of `value`; the inverse of decode_code_point.
void append_code_point(std::string& out, char32_t value);

std::u32string decode_text(std::string_view text);
std::string encode_text(std::u32string_view text);

/// Unicode property White_Space.
bool is_space(char32_t value) noexcept;
/// General category L (letters), and Nd (decimal digits).
bool is_letter(char32_t value) noexcept;
bool is_digit(char32_t value) noexcept;

/// Removes Unicode blanks.
std::string_view trim_left_blanks(std::string_view text) noexcept;
std::string_view trim_blanks(std::string_view text) noexcept;

}  // namespace imgbuild::parser
