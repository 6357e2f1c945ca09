#include "parser/json_form.h"

#include <algorithm>

#include "base/error.h"
#include "parser/code_points.h"

namespace imgbuild::parser {

namespace {

constexpr int kMaxDepth = 64;  // LIM
constexpr char32_t kReplacement = 0xFFFD;

/// Recognises one JSON array as RFC 8259 defines it. Every function returns false where the text is no JSON.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  /// The outermost array: keeps its strings and notes whether there was anything else.
  bool read_array(std::vector<std::string>& words, bool& only_strings) {
    return array_of([&] {
      if (next_is('"')) return read_string(words.emplace_back());
      only_strings = false;
      return skip_value(1);
    });
  }

  bool at_end() {
    skip_blanks();
    return rest_.empty();
  }

 private:
  template <typename Element>
  bool array_of(const Element& element) {
    if (!take('[')) return false;
    if (take(']')) return true;
    do {
      if (!element()) return false;
    } while (take(','));
    return take(']');
  }

  void skip_blanks() {
    const auto from = rest_.find_first_not_of(" \t\r\n");
    rest_.remove_prefix(from == std::string_view::npos ? rest_.size() : from);
  }
  bool next_is(char c) {
    skip_blanks();
    return !rest_.empty() && rest_.front() == c;
  }
  bool take(char c) {
    if (!next_is(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool take_word(std::string_view word) {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  bool skip_value(int depth) {
    if (depth > kMaxDepth) throw SyntaxError("the JSON array is nested more than 64 deep");
    skip_blanks();
    if (rest_.empty()) return false;
    std::string ignored;
    switch (rest_.front()) {
      case '"':
        return read_string(ignored);
      case '[':
        return array_of([&] { return skip_value(depth + 1); });
      case '{':
        return skip_object(depth);
      case 't':
        return take_word("true");
      case 'f':
        return take_word("false");
      case 'n':
        return take_word("null");
      default:
        return skip_number();
    }
  }

  bool skip_object(int depth) {
    if (!take('{')) return false;
    if (take('}')) return true;
    std::string ignored;
    do {
      if (!next_is('"') || !read_string(ignored) || !take(':') || !skip_value(depth + 1)) return false;
    } while (take(','));
    return take('}');
  }

  bool skip_digits() {
    const auto end = std::min(rest_.find_first_not_of("0123456789"), rest_.size());
    rest_.remove_prefix(end);
    return end > 0;
  }

  bool skip_number() {
    take_word("-");
    if (!take_word("0") && !skip_digits()) return false;
    if (take_word(".") && !skip_digits()) return false;
    if (take_word("e") || take_word("E")) {
      if (!take_word("+")) take_word("-");
      return skip_digits();
    }
    return true;
  }

  /// At the opening quote.
  bool read_string(std::string& out) {
    rest_.remove_prefix(1);
    while (!rest_.empty()) {
      const char c = rest_.front();
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c == '"') {
        rest_.remove_prefix(1);
        return true;
      }
      if (c == '\\') {
        rest_.remove_prefix(1);
        if (!read_escape(out)) return false;
      } else {
        out += c;
        rest_.remove_prefix(1);
      }
    }
    return false;
  }

  bool read_escape(std::string& out) {
    if (rest_.empty()) return false;
    const char c = rest_.front();
    rest_.remove_prefix(1);
    constexpr std::string_view kFrom = "\"\\/bfnrt";
    constexpr std::string_view kTo = "\"\\/\b\f\n\r\t";
    if (const auto at = kFrom.find(c); at != std::string_view::npos) {
      out += kTo[at];
      return true;
    }
    return c == 'u' && read_unicode_escape(out);
  }

  bool read_unicode_escape(std::string& out) {
    char32_t value = 0;
    if (!take_hex(value)) return false;
    if (value >= 0xD800 && value <= 0xDFFF) {
      // A pair makes one character; half a pair makes none.
      const std::string_view behind = rest_;
      char32_t low = 0;
      if (value < 0xDC00 && take_word("\\u") && take_hex(low) && low >= 0xDC00 && low <= 0xDFFF) {
        value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
      } else {
        rest_ = behind;
        value = kReplacement;
      }
    }
    append_code_point(out, value);
    return true;
  }

  bool take_hex(char32_t& value) {
    if (rest_.size() < 4) return false;
    for (int i = 0; i < 4; ++i) {
      const char c = rest_[static_cast<std::size_t>(i)];
      char32_t digit = 0;
      if (c >= '0' && c <= '9') {
        digit = static_cast<char32_t>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        digit = static_cast<char32_t>(c - 'a' + 10);
      } else if (c >= 'A' && c <= 'F') {
        digit = static_cast<char32_t>(c - 'A' + 10);
      } else {
        return false;
      }
      value = value * 16 + digit;
    }
    rest_.remove_prefix(4);
    return true;
  }

  std::string_view rest_;
};

}  // namespace

std::optional<std::vector<std::string>> read_json_form(std::string_view text) {
  text = trim_left_blanks(text);
  if (!text.starts_with('[')) return std::nullopt;
  Reader reader(text);
  std::vector<std::string> words;
  bool only_strings = true;
  if (!reader.read_array(words, only_strings) || !reader.at_end()) return std::nullopt;
  if (!only_strings) {
    throw SyntaxError("when using JSON array syntax, arrays must be comprised of strings only");
  }
  return words;
}

}  // namespace imgbuild::parser
