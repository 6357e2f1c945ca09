#pragma once

#include <string>
#include <string_view>

#include "parser/ignore_regex.h"

namespace imgbuild::parser {

/// Whether Go's filepath.Match would accept `pattern`.
bool is_well_formed_pattern(std::string_view pattern);

/// A pattern of an ignore file, compiled (IGN-11…14). Matches whole paths.
class PathPattern {
 public:
  /// `pattern` is cleaned. Throws SyntaxError if it is malformed.
  explicit PathPattern(const std::string& pattern);

  bool matches(std::string_view path) const;
  /// False only if no path below `directory` can match.
  bool may_match_below(std::string_view directory) const;

 private:
  enum class Kind { exact, prefix, suffix, regex };
  Kind kind_ = Kind::exact;
  std::string text_;  // what exact, prefix and suffix compare with
  IgnoreRegex regex_;
};

}  // namespace imgbuild::parser
