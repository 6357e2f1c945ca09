#include "parser/ignore_regex.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "parser/code_points.h"

namespace imgbuild::parser {

namespace {

constexpr char32_t kNothing = 0xFFFFFFFF;

bool is_word_character(char32_t value) {
  return value < 0x80 && (is_letter(value) || is_digit(value) || value == '_');
}

}  // namespace

/// Which nodes come next. Small ones live without the heap.
class IgnoreRegex::StateSet {
 public:
  explicit StateSet(std::size_t size) : words_((size + 63) / 64) {
    if (words_ > small_.size()) large_.resize(words_);
  }
  void clear() { std::fill_n(data(), words_, 0); }
  void insert(std::size_t i) { data()[i / 64] |= std::uint64_t{1} << (i % 64); }
  bool contains(std::size_t i) const { return (data()[i / 64] >> (i % 64)) & 1; }
  bool empty() const {
    return std::all_of(data(), data() + words_, [](std::uint64_t word) { return word == 0; });
  }
  template <typename Visit>
  void for_each(const Visit& visit) const {
    for (std::size_t w = 0; w < words_; ++w) {
      for (std::uint64_t word = data()[w]; word != 0; word &= word - 1) {
        visit(w * 64 + static_cast<std::size_t>(__builtin_ctzll(word)));
      }
    }
  }

 private:
  std::uint64_t* data() { return large_.empty() ? small_.data() : large_.data(); }
  const std::uint64_t* data() const { return large_.empty() ? small_.data() : large_.data(); }

  std::size_t words_;
  std::array<std::uint64_t, 2> small_{};
  std::vector<std::uint64_t> large_;
};

class IgnoreRegex::Compiler {
 public:
  Compiler(std::string_view expression, IgnoreRegex& out) : rest_(expression), out_(out) {}

  void run() {
    while (!rest_.empty()) {
      if (take("(.*/)?")) {
        add(Kind::directory_entry);
        add(Kind::directory_loop);
      } else if (take(".*")) {
        add(Kind::any_star);
      } else if (take("[")) {
        add_class(CharacterClass::read(rest_));
      } else if (take("^")) {
        add(Kind::text_start);
      } else if (take("\\")) {
        compile_escape();
      } else {
        add(Kind::character, take_character());
      }
    }
  }

 private:
  bool take(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  char32_t take_character() {
    const CodePoint point = decode_code_point(rest_);
    rest_.remove_prefix(point.length);
    return point.value;
  }

  void add(Kind kind, char32_t character = 0) { out_.nodes_.push_back({kind, character, 0}); }
  void add_class(CharacterClass set) {
    out_.nodes_.push_back({take("*") ? Kind::set_star : Kind::set, 0, out_.classes_.size()});
    out_.classes_.push_back(std::move(set));
  }

  /// IGN-14.
  void compile_escape() {
    if (rest_.empty()) throw SyntaxError("syntax error in pattern: trailing backslash");
    const char letter = rest_.front();
    if (take("b")) return add(Kind::boundary);
    if (take("B")) return add(Kind::no_boundary);
    if (take("A")) return add(Kind::text_start);
    if (take("z")) return add(Kind::text_end);
    CharacterClass set;
    if (set.add_escape(letter)) {
      rest_.remove_prefix(1);
      return add_class(std::move(set));
    }
    const char32_t written = take_character();
    const char32_t value = escaped_character(written);
    if (value == 0) {
      throw SyntaxError(
          cat("syntax error in pattern: unknown escape \\", printable(encode_text({&written, 1}))));
    }
    add(Kind::character, value);
  }

  std::string_view rest_;
  IgnoreRegex& out_;
};

IgnoreRegex::IgnoreRegex(std::string_view expression) {
  Compiler(expression, *this).run();
  const auto is_literal = [](const Node& node) { return node.kind == Kind::character; };
  const auto start_end = std::find_if_not(nodes_.begin(), nodes_.end(), is_literal);
  std::for_each(nodes_.begin(), start_end,
                [&](const Node& node) { append_code_point(literal_start_, node.character); });
  const auto end_start = std::find_if_not(nodes_.rbegin(), nodes_.rend(), is_literal).base();
  std::for_each(end_start, nodes_.end(),
                [&](const Node& node) { append_code_point(literal_end_, node.character); });
}

bool IgnoreRegex::holds(Kind assertion, Place place) const {
  const bool boundary = is_word_character(place.before) != is_word_character(place.behind);
  switch (assertion) {
    case Kind::boundary:
      return boundary;
    case Kind::no_boundary:
      return !boundary;
    case Kind::text_start:
      return place.before == kNothing;
    case Kind::text_end:
      return place.behind == kNothing;
    default:
      return true;
  }
}

/// Adds `node` and everything that can be reached from it without a character.
void IgnoreRegex::add(StateSet& states, std::size_t node, Place place) const {
  for (;; ++node) {
    if (states.contains(node)) return;
    states.insert(node);
    if (node == nodes_.size()) return;
    switch (nodes_[node].kind) {
      case Kind::character:
      case Kind::set:
      case Kind::directory_loop:
        return;
      case Kind::set_star:
      case Kind::any_star:
        break;
      case Kind::directory_entry:
        states.insert(++node);  // the loop has no way on without a character
        break;
      case Kind::boundary:
      case Kind::no_boundary:
      case Kind::text_start:
      case Kind::text_end:
        if (!holds(nodes_[node].kind, place)) return;
        break;
    }
  }
}

void IgnoreRegex::step(const StateSet& from, StateSet& to, char32_t character, Place place) const {
  from.for_each([&](std::size_t i) {
    if (i == nodes_.size()) return;
    const Node& node = nodes_[i];
    switch (node.kind) {
      case Kind::character:
        if (node.character == character) add(to, i + 1, place);
        return;
      case Kind::set:
        if (classes_[node.set].holds(character)) add(to, i + 1, place);
        return;
      case Kind::set_star:
        if (classes_[node.set].holds(character)) add(to, i, place);
        return;
      case Kind::any_star:
        add(to, i, place);
        return;
      case Kind::directory_loop:
        to.insert(i);
        if (character == '/') add(to, i + 1, place);
        return;
      default:
        return;
    }
  });
}

bool IgnoreRegex::run(std::string_view text, bool accept_end) const {
  StateSet current(nodes_.size() + 1);
  StateSet next(nodes_.size() + 1);
  const auto first_of = [](std::string_view rest) {
    return rest.empty() ? kNothing : decode_code_point(rest).value;
  };
  add(current, 0, {kNothing, first_of(text)});
  while (!text.empty()) {
    const CodePoint point = decode_code_point(text);
    text.remove_prefix(point.length);
    next.clear();
    step(current, next, point.value, {point.value, first_of(text)});
    if (next.empty()) return false;
    std::swap(current, next);
  }
  return accept_end ? current.contains(nodes_.size()) : true;
}

bool IgnoreRegex::matches(std::string_view text) const {
  if (!text.starts_with(literal_start_) || !text.ends_with(literal_end_)) return false;
  return run(text, true);
}

bool IgnoreRegex::may_match_after(std::string_view start) const {
  const auto shared = std::min(start.size(), literal_start_.size());
  if (start.substr(0, shared) != std::string_view(literal_start_).substr(0, shared)) return false;
  return run(start, false);
}

}  // namespace imgbuild::parser
