#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace imgbuild::parser {

/// A pattern of `${v#p}`, `${v%p}` and `${v/p/r}` (VAR-37): `*` any run, `?` one character, `\*`, `\?`, `\\`,
/// `\}`,
/// `\/` literal, everything else literal. Matching costs about the length of the text; a pattern for which
/// that cannot be promised (many `?` repeated over a long text) is given up with a SyntaxError.
class WordPattern {
 public:
  /// Throws SyntaxError for any other escape.
  explicit WordPattern(std::string_view pattern);

  /// `value` without its longest or shortest matching start; unchanged without a match (VAR-33).
  std::string without_prefix(std::string_view value, bool longest) const;
  /// The same at the end (VAR-34, VAR-39).
  std::string without_suffix(std::string_view value, bool longest) const;
  /// The leftmost, longest match replaced by `replacement` as it stands (VAR-35).
  std::string replace_first(std::string_view value, std::string_view replacement) const;
  /// Every match replaced; `$name` in `replacement` are group references, of which only `$0` has a value
  /// (VAR-38).
  std::string replace_all(std::string_view value, std::string_view replacement) const;
  /// Comparisons made so far.
  std::uint64_t steps() const noexcept { return steps_; }

 private:
  /// What stands between two stars. kAnyCharacter stands for `?`.
  using Segment = std::u32string;
  using Segments = std::vector<Segment>;
  class Matcher;

  Segments segments_;  // one more than there are stars
  mutable std::uint64_t steps_ = 0;
};

}  // namespace imgbuild::parser
