#include "parser/code_points.h"

#include <algorithm>
#include <span>

#include "parser/unicode_tables.h"

namespace imgbuild::parser {

namespace {

bool in_ranges(std::span<const CodePointRange> ranges, char32_t value) noexcept {
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), value,
                       [](char32_t code, const CodePointRange& range) { return code < range.first; });
  return after != ranges.begin() && value <= std::prev(after)->last;
}

/// How many bytes the first byte promises, 0 if it cannot start a character.
std::size_t promised_length(unsigned char first) noexcept {
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return 2;
  if (first >= 0xE0 && first <= 0xEF) return 3;
  if (first >= 0xF0 && first <= 0xF4) return 4;
  return 0;
}

}  // namespace

CodePoint decode_code_point(std::string_view text) noexcept {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return {first, 1};
  const CodePoint ill_formed{kIllFormedBase + first, 1};
  const std::size_t length = promised_length(first);
  if (length == 0 || text.size() < length) return ill_formed;
  char32_t value = first & (0xFFu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte & 0xC0) != 0x80) return ill_formed;
    value = (value << 6) | (byte & 0x3Fu);
  }
  const bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  if (overlong || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return ill_formed;
  return {value, length};
}

void append_code_point(std::string& out, char32_t value) {
  const auto byte = [&out](char32_t bits) { out += static_cast<char>(static_cast<unsigned char>(bits)); };
  if (value < 0x80) {
    byte(value);
  } else if (value >= kIllFormedBase) {
    byte(value - kIllFormedBase);
  } else if (value < 0x800) {
    byte(0xC0 | (value >> 6));
    byte(0x80 | (value & 0x3F));
  } else if (value < 0x10000) {
    byte(0xE0 | (value >> 12));
    byte(0x80 | ((value >> 6) & 0x3F));
    byte(0x80 | (value & 0x3F));
  } else {
    byte(0xF0 | (value >> 18));
    byte(0x80 | ((value >> 12) & 0x3F));
    byte(0x80 | ((value >> 6) & 0x3F));
    byte(0x80 | (value & 0x3F));
  }
}

std::u32string decode_text(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const CodePoint point = decode_code_point(text);
    out += point.value;
    text.remove_prefix(point.length);
  }
  return out;
}

std::string encode_text(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t value : text) append_code_point(out, value);
  return out;
}

bool is_space(char32_t value) noexcept {
  return (value >= 9 && value <= 13) || value == ' ' || value == 0x85 || value == 0xA0 || value == 0x1680 ||
         (value >= 0x2000 && value <= 0x200A) || value == 0x2028 || value == 0x2029 || value == 0x202F ||
         value == 0x205F || value == 0x3000;
}

bool is_letter(char32_t value) noexcept {
  if (value < 0x80) return (value >= 'a' && value <= 'z') || (value >= 'A' && value <= 'Z');
  return in_ranges(kLetterRanges, value);
}

bool is_digit(char32_t value) noexcept {
  if (value < 0x80) return value >= '0' && value <= '9';
  return in_ranges(kDigitRanges, value);
}

std::string_view trim_left_blanks(std::string_view text) noexcept {
  while (!text.empty()) {
    const CodePoint point = decode_code_point(text);
    if (!is_space(point.value)) break;
    text.remove_prefix(point.length);
  }
  return text;
}

std::string_view trim_blanks(std::string_view text) noexcept {
  text = trim_left_blanks(text);
  while (!text.empty()) {
    // A character ends here; it starts at most four bytes before.
    std::size_t length = 1;
    while (length < 4 && length < text.size() &&
           (static_cast<unsigned char>(text[text.size() - length]) & 0xC0) == 0x80) {
      ++length;
    }
    const CodePoint point = decode_code_point(text.substr(text.size() - length));
    if (point.length != length || !is_space(point.value)) break;
    text.remove_suffix(length);
  }
  return text;
}

}  // namespace imgbuild::parser
