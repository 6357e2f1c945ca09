#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace imgbuild::parser {

enum class Keyword {
  add,
  arg,
  cmd,
  copy,
  entrypoint,
  env,
  expose,
  from,
  healthcheck,
  label,
  maintainer,
  onbuild,
  run,
  shell,
  stopsignal,
  user,
  volume,
  workdir,
};

/// An instruction split into its parts, the arguments not yet read (PAR-40…43).
struct Statement {
  std::string text;                ///< the whole logical line
  std::string word;                ///< the keyword as written
  std::optional<Keyword> keyword;  ///< nothing: unknown
  std::vector<std::string> flags;  ///< `--…` words, quotes removed
  std::string rest;                ///< trimmed
  /// The arguments, if they are given in JSON form and the instruction takes that (PAR-61).
  std::optional<std::vector<std::string>> json;
};

/// Never fails for an unknown keyword. Throws SyntaxError for a JSON form with other things than strings.
Statement split_statement(std::string_view line);

/// `text` at runs of tab, VT, FF, CR and space.
std::vector<std::string> split_words(std::string_view text);

/// The keyword in capitals, for messages.
std::string_view keyword_name(Keyword keyword);
/// All of them, for suggestions.
const std::vector<std::string>& keyword_names();

}  // namespace imgbuild::parser
