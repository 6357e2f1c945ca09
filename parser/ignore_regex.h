#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "parser/character_class.h"

namespace imgbuild::parser {

/// The regular expressions that patterns of ignore files are defined by (dockerfile.md 6.2): characters,
/// `\x`, classes, `[…]*`, `.*`, `(.*/)?`, `^`. Nothing else can come out of a pattern. Anchored at both ends.
/// All states are followed at once, so matching costs at most the length of the text times that of the
/// expression.
class IgnoreRegex {
 public:
  IgnoreRegex() = default;
  /// Throws SyntaxError for what the reference's engine rejects, and for escapes nobody can mean in a path.
  explicit IgnoreRegex(std::string_view expression);

  bool matches(std::string_view text) const;
  /// Whether any text that starts with `start` can match; may err to true.
  bool may_match_after(std::string_view start) const;

 private:
  enum class Kind {
    character,
    set,              // one of classes_[set]
    set_star,         // any number of them
    any_star,         // `.*`
    directory_entry,  // `(.*/)?`: goes on behind it, or into the loop that follows
    directory_loop,   // inside it: everything up to a slash
    boundary,         // `\b`
    no_boundary,      // `\B`
    text_start,       // `^`, `\A`
    text_end,         // `\z`
  };
  struct Node {
    Kind kind = Kind::character;
    char32_t character = 0;
    std::size_t set = 0;
  };
  class Compiler;
  class StateSet;
  /// The characters on both sides of a place; kNothing at the ends.
  struct Place {
    char32_t before;
    char32_t behind;
  };

  bool holds(Kind assertion, Place place) const;
  void add(StateSet& states, std::size_t node, Place place) const;
  void step(const StateSet& from, StateSet& to, char32_t character, Place place) const;
  /// Whether any state is left after `text`, the last one only if `accept_end`.
  bool run(std::string_view text, bool accept_end) const;

  std::vector<Node> nodes_;
  std::vector<CharacterClass> classes_;
  std::string literal_start_;  // every match starts with this
  std::string literal_end_;    // and ends with this
};

}  // namespace imgbuild::parser
