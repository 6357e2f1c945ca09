#include <algorithm>

#include "base/strings.h"
#include "parser/flags.h"
#include "parser/grammar.h"
#include "parser/key_values.h"
#include "parser/word_error.h"

namespace imgbuild::parser {

namespace {

/// PAR-64.
bool is_stage_name(std::string_view name) {
  const auto is_lower = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto belongs = [&](char c) {
    return is_lower(c) || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  };
  return !name.empty() && is_lower(name.front()) && std::all_of(name.begin(), name.end(), belongs);
}

std::string parse_stage_name(const std::string& written) {
  std::string name = to_lower(written);
  if (!is_stage_name(name)) {
    throw WordError(cat("invalid name for build stage: \"", printable(written),
                        "\", name can't start with a number or contain symbols"),
                    written);
  }
  return name;
}

ArgDefinition parse_definition(const std::string& word, const std::vector<std::string>& comments) {
  ArgDefinition definition;
  const auto equals = word.find('=');
  definition.key = word.substr(0, equals);
  if (equals != std::string::npos) definition.value = word.substr(equals + 1);
  if (definition.key.empty()) throw SyntaxError("ARG names can not be blank");
  definition.doc = find_description(comments, definition.key);
  return definition;
}

}  // namespace

std::string find_description(const std::vector<std::string>& comments, const std::string& name) {
  const std::string start = name + " ";
  for (const auto& comment : comments) {
    if (!name.empty() && comment.starts_with(start)) return comment.substr(start.size());
  }
  return {};
}

FromInstruction parse_from(const GrammarInput& in) {
  const Flags flags(in.statement.flags, {{"platform"}});
  const auto words = split_words(in.statement.rest);
  const bool named = words.size() == 3 && equal_ignoring_case(words[1], "as");
  if (words.size() != 1 && !named) {
    SyntaxError error("FROM requires either one or three arguments");
    error.add_note("write FROM IMAGE or FROM IMAGE AS NAME; a comment needs a line of its own");
    throw error;
  }
  FromInstruction from;
  from.base = words[0];
  from.platform = flags.text_unless_empty("platform");
  if (named) {
    from.as_keyword = words[1];
    from.stage_name_as_written = words[2];
    from.stage_name = parse_stage_name(words[2]);
    from.doc = find_description(in.comments, *from.stage_name);
  }
  return from;
}

ArgInstruction parse_arg(const GrammarInput& in) {
  // Flags are dropped unseen (PAR-46).
  ArgInstruction arg;
  for (const auto& word : split_quoted_words(in.statement.rest, in.escape)) {
    arg.args.push_back(parse_definition(word, in.comments));
  }
  if (arg.args.empty()) throw SyntaxError("ARG requires at least one argument");
  return arg;
}

}  // namespace imgbuild::parser
