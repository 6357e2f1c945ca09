#include <algorithm>

#include "base/strings.h"
#include "parser/code_points.h"
#include "parser/grammar.h"
#include "parser/key_values.h"
#include "parser/word_error.h"

namespace imgbuild::parser {

namespace {

struct Pairs {
  std::vector<KeyValue> pairs;
  bool legacy_form = false;
};

/// `KEY value with blanks` (PAR-60).
KeyValue read_legacy_pair(std::string_view rest, std::string_view name) {
  constexpr std::string_view kBlanks = "\t\v\f\r ";
  const auto end = rest.find_first_of(kBlanks);
  if (end == std::string_view::npos) throw SyntaxError(cat(name, " must have two arguments"));
  const auto value = rest.find_first_not_of(kBlanks, end);
  return {std::string(rest.substr(0, end)), std::string(rest.substr(value))};
}

/// The arguments of ENV and LABEL; may be none.
Pairs read_pairs(const Statement& statement, char escape) {
  const std::string_view name = keyword_name(*statement.keyword);
  const auto words = split_quoted_words(statement.rest, escape);
  Pairs out;
  if (!words.empty() && words.front().find('=') == std::string::npos) {
    out.legacy_form = true;
    out.pairs.push_back(read_legacy_pair(statement.rest, name));
    return out;
  }
  for (const auto& word : words) {
    const auto equals = word.find('=');
    if (equals == std::string::npos) {
      throw WordError(
          cat("Syntax error - can't find = in \"", printable(word), "\". Must be of the form: name=value"),
          word);
    }
    out.pairs.push_back({word.substr(0, equals), word.substr(equals + 1)});
  }
  return out;
}

Pairs parse_pairs(const GrammarInput& in) {
  refuse_flags(in.statement);
  const std::string_view name = keyword_name(*in.statement.keyword);
  Pairs out = read_pairs(in.statement, in.escape);
  if (out.pairs.empty()) throw SyntaxError(cat(name, " requires at least one argument"));
  for (const auto& pair : out.pairs) {
    if (pair.key.empty()) throw SyntaxError(cat(name, " names can not be blank"));
  }
  return out;
}

}  // namespace

EnvInstruction parse_env(const GrammarInput& in) {
  Pairs out = parse_pairs(in);
  return {std::move(out.pairs), out.legacy_form};
}

LabelInstruction parse_label(const GrammarInput& in) {
  Pairs out = parse_pairs(in);
  return {std::move(out.pairs), out.legacy_form};
}

ExposeInstruction parse_expose(const GrammarInput& in) {
  refuse_flags(in.statement);
  ExposeInstruction expose{split_words(in.statement.rest)};
  if (expose.ports.empty()) throw SyntaxError("EXPOSE requires at least one argument");
  std::sort(expose.ports.begin(), expose.ports.end());
  return expose;
}

VolumeInstruction parse_volume(const GrammarInput& in) {
  refuse_flags(in.statement);
  VolumeInstruction volume;
  for (const auto& path : in.statement.json ? *in.statement.json : split_words(in.statement.rest)) {
    volume.paths.emplace_back(trim_blanks(path));
    if (volume.paths.back().empty()) throw SyntaxError("VOLUME specified can not be an empty string");
  }
  if (volume.paths.empty()) throw SyntaxError("VOLUME requires at least one argument");
  return volume;
}

std::string parse_single_argument(const GrammarInput& in) {
  if (in.statement.keyword != Keyword::stopsignal) refuse_flags(in.statement);  // PAR-46
  if (in.statement.rest.empty()) {
    throw SyntaxError(cat(keyword_name(*in.statement.keyword), " requires exactly one argument"));
  }
  return in.statement.rest;
}

OnBuildInstruction parse_onbuild(const GrammarInput& in) {
  refuse_flags(in.statement);
  if (in.statement.rest.empty()) throw SyntaxError("ONBUILD requires at least one argument");
  const Statement trigger = split_statement(in.statement.rest);
  switch (trigger.keyword.value_or(Keyword::run)) {
    case Keyword::onbuild:
      throw SyntaxError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    case Keyword::from:
    case Keyword::maintainer:
      throw SyntaxError(cat(keyword_name(*trigger.keyword), " isn't allowed as an ONBUILD trigger"));
    case Keyword::env:
    case Keyword::label:
      read_pairs(trigger, in.escape);
      break;  // fails now rather than in somebody else's build
    default:
      break;
  }
  OnBuildInstruction onbuild{in.statement.rest};
  for (const auto& heredoc : in.heredocs)
    onbuild.expression += cat("\n", heredoc.data, heredoc.name);  // HDC-14
  return onbuild;
}

}  // namespace imgbuild::parser
