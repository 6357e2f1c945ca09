#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace imgbuild::parser {

/// Looks a variable up; nothing when it is unset.
using VariableLookup = std::function<std::optional<std::string>(std::string_view name)>;

struct Expansion {
  std::string text;
  std::set<std::string> unset;  ///< names that were looked up and not found (feeds UndefinedVar)
};
struct WordsExpansion {
  std::vector<std::string> words;
  std::set<std::string> unset;
};

/// Expands variables and removes quotes and escapes in one word (VAR-20…39). Throws SyntaxError (no range;
/// the caller locates it). Output and nesting are limited (NET-26).
Expansion expand_word(std::string_view word, const VariableLookup& lookup, char escape = '\\');
/// Splitting mode, EXPOSE (VAR-40).
WordsExpansion expand_words(std::string_view word, const VariableLookup& lookup, char escape = '\\');
/// Bodies of COPY/ADD heredocs: quotes are text, the escape is always `\` (VAR-50).
Expansion expand_heredoc(std::string_view body, const VariableLookup& lookup);

}  // namespace imgbuild::parser
