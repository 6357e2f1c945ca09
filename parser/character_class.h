#pragma once

#include <string_view>
#include <utility>
#include <vector>

namespace imgbuild::parser {

/// A set of characters.
class CharacterClass {
 public:
  /// Reads a class of a regular expression; `text` starts behind the `[` and is left behind the `]`. Throws
  /// SyntaxError if it is malformed.
  static CharacterClass read(std::string_view& text);
  /// `\d`, `\D`, `\s`, `\S`, `\w`, `\W` by their letter; false if it is none of these.
  bool add_escape(char letter);

  bool holds(char32_t value) const noexcept;

 private:
  using Range = std::pair<char32_t, char32_t>;
  void add(char32_t low, char32_t high) { ranges_.emplace_back(low, high); }
  void add_all(std::vector<Range> ranges, bool negated);
  bool add_named(std::string_view& text);

  std::vector<Range> ranges_;
  bool negated_ = false;
};

/// What `\a`, `\n` and the like stand for, or the character itself if it is punctuation; 0 for anything else.
char32_t escaped_character(char32_t value) noexcept;

}  // namespace imgbuild::parser
