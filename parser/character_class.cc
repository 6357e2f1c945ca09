#include "parser/character_class.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/strings.h"
#include "parser/code_points.h"

namespace imgbuild::parser {

namespace {

using Ranges = std::vector<std::pair<char32_t, char32_t>>;

constexpr char32_t kLastCharacter = 0x10FFFF + 0x100;  // ill-formed bytes included

const Ranges kDigits = {{'0', '9'}};
const Ranges kBlanks = {{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}};
const Ranges kWordCharacters = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};

const std::map<std::string_view, Ranges> kNamed = {
    {"alnum", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}},
    {"alpha", {{'A', 'Z'}, {'a', 'z'}}},
    {"ascii", {{0, 0x7F}}},
    {"blank", {{'\t', '\t'}, {' ', ' '}}},
    {"cntrl", {{0, 0x1F}, {0x7F, 0x7F}}},
    {"digit", kDigits},
    {"graph", {{'!', '~'}}},
    {"lower", {{'a', 'z'}}},
    {"print", {{' ', '~'}}},
    {"punct", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
    {"space", {{'\t', '\r'}, {' ', ' '}}},
    {"upper", {{'A', 'Z'}}},
    {"word", kWordCharacters},
    {"xdigit", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}},
};

[[noreturn]] void malformed() { throw SyntaxError("syntax error in pattern: malformed character class"); }

char32_t take_member(std::string_view& text) {
  if (text.empty()) malformed();
  CodePoint point = decode_code_point(text);
  text.remove_prefix(point.length);
  if (point.value != '\\') return point.value;
  if (text.empty()) malformed();
  point = decode_code_point(text);
  text.remove_prefix(point.length);
  const char32_t value = escaped_character(point.value);
  if (value == 0) malformed();
  return value;
}

}  // namespace

char32_t escaped_character(char32_t value) noexcept {
  constexpr std::u32string_view kLetters = U"afnrtv";
  constexpr std::u32string_view kControls = U"\a\f\n\r\t\v";
  if (const auto at = kLetters.find(value); at != std::u32string_view::npos) return kControls[at];
  const bool punctuation = value < 0x80 && !is_letter(value) && !is_digit(value);
  return punctuation ? value : 0;
}

void CharacterClass::add_all(Ranges ranges, bool negated) {
  if (!negated) {
    ranges_.insert(ranges_.end(), ranges.begin(), ranges.end());
    return;
  }
  char32_t next = 0;
  for (const auto& [low, high] : ranges) {  // sorted
    if (low > next) add(next, low - 1);
    next = high + 1;
  }
  add(next, kLastCharacter);
}

bool CharacterClass::add_escape(char letter) {
  const bool negated = letter >= 'A' && letter <= 'Z';
  switch (negated ? letter - 'A' + 'a' : letter) {
    case 'd':
      add_all(kDigits, negated);
      return true;
    case 's':
      add_all(kBlanks, negated);
      return true;
    case 'w':
      add_all(kWordCharacters, negated);
      return true;
    default:
      return false;
  }
}

/// `[:alpha:]` and `[:^alpha:]` inside a class.
bool CharacterClass::add_named(std::string_view& text) {
  const auto end = text.find(":]", 2);
  if (!text.starts_with("[:") || end == std::string_view::npos) return false;
  std::string_view name = text.substr(2, end - 2);
  const bool negated = name.starts_with('^');
  if (negated) name.remove_prefix(1);
  const auto found = kNamed.find(name);
  if (found == kNamed.end()) malformed();
  add_all(found->second, negated);
  text.remove_prefix(end + 2);
  return true;
}

CharacterClass CharacterClass::read(std::string_view& text) {
  CharacterClass out;
  if (text.starts_with('^')) {
    out.negated_ = true;
    text.remove_prefix(1);
  }
  for (bool first = true; first || !text.starts_with(']'); first = false) {
    if (out.add_named(text)) continue;
    if (text.size() > 1 && text.front() == '\\' && out.add_escape(text[1])) {
      text.remove_prefix(2);
      continue;
    }
    const char32_t low = take_member(text);
    char32_t high = low;
    if (text.size() > 1 && text.front() == '-' && text[1] != ']') {
      text.remove_prefix(1);
      high = take_member(text);
      if (high < low) malformed();
    }
    out.add(low, high);
  }
  text.remove_prefix(1);
  return out;
}

bool CharacterClass::holds(char32_t value) const noexcept {
  const auto in = [value](const Range& range) { return range.first <= value && value <= range.second; };
  return std::any_of(ranges_.begin(), ranges_.end(), in) != negated_;
}

}  // namespace imgbuild::parser
