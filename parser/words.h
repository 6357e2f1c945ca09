#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace imgbuild::parser {

/// Looks a variable up; nothing when it is unset. What it gives is only read until the next call.
using VariableLookup = std::function<std::optional<std::string_view>(std::string_view name)>;

struct Expansion {
  std::string text;
  std::set<std::string> unset;  ///< names that were looked up and not found (feeds UndefinedVar)
  std::uint64_t cost = 0;       ///< about the bytes read and made, for those who limit the sum
};
struct WordsExpansion {
  std::vector<std::string> words;
  std::set<std::string> unset;
  std::uint64_t cost = 0;
};

/// Expands variables and removes quotes and escapes in one word (VAR-20…39). Throws SyntaxError (no range;
/// the caller locates it). Output and nesting are limited (NET-26).
Expansion expand_word(std::string_view word, const VariableLookup& lookup, char escape = '\\');
/// Splitting mode, EXPOSE (VAR-40).
WordsExpansion expand_words(std::string_view word, const VariableLookup& lookup, char escape = '\\');
/// Bodies of COPY/ADD heredocs: quotes are text, the escape is always `\` (VAR-50). May make 16 MiB, others
/// 1 MiB.
Expansion expand_heredoc(std::string_view body, const VariableLookup& lookup);

}  // namespace imgbuild::parser
