#include "parser/statement.h"

#include <algorithm>

#include "base/strings.h"
#include "parser/code_points.h"
#include "parser/json_form.h"

namespace imgbuild::parser {

namespace {

constexpr std::string_view kBlanks = "\t\v\f\r ";  // PAR-40

std::optional<Keyword> find_keyword(std::string_view word) {
  const auto& names = keyword_names();
  const auto found = std::find(names.begin(), names.end(), to_upper(word));
  if (found == names.end()) return std::nullopt;
  return static_cast<Keyword>(found - names.begin());
}

bool takes_json(Keyword keyword) {
  switch (keyword) {
    case Keyword::add:
    case Keyword::cmd:
    case Keyword::copy:
    case Keyword::entrypoint:
    case Keyword::run:
    case Keyword::shell:
    case Keyword::volume:
      return true;
    default:
      return false;
  }
}

/// Takes one flag off the start of `text`, its quotes and escapes removed. The escape is always a backslash
/// here.
std::string take_flag(std::string_view& text) {
  std::string flag;
  char quote = '\0';
  std::size_t at = 0;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (quote == '\0' && is_space(decode_code_point(text.substr(at)).value)) break;
    if (c == '\\') {
      if (++at < text.size()) flag += text[at];
    } else if (quote == '\0' && (c == '\'' || c == '"')) {
      quote = c;
    } else if (quote != '\0' && c == quote) {
      quote = '\0';
    } else {
      flag += c;
    }
  }
  text.remove_prefix(std::min(at, text.size()));
  return flag;
}

/// PAR-43.
void take_flags(std::string_view& rest, std::vector<std::string>& flags) {
  for (;;) {
    rest = trim_left_blanks(rest);
    if (!rest.starts_with("--")) return;
    std::string flag = take_flag(rest);
    if (flag == "--") return;
    flags.push_back(std::move(flag));
  }
}

}  // namespace

const std::vector<std::string>& keyword_names() {
  // In the order of the enumerators.
  static const std::vector<std::string> names = {
      "ADD",   "ARG",        "CMD",     "COPY", "ENTRYPOINT", "ENV",        "EXPOSE", "FROM",   "HEALTHCHECK",
      "LABEL", "MAINTAINER", "ONBUILD", "RUN",  "SHELL",      "STOPSIGNAL", "USER",   "VOLUME", "WORKDIR"};
  return names;
}

std::string_view keyword_name(Keyword keyword) { return keyword_names()[static_cast<std::size_t>(keyword)]; }

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  for (;;) {
    const auto from = text.find_first_not_of(kBlanks);
    if (from == std::string_view::npos) return words;
    const auto to = std::min(text.find_first_of(kBlanks, from), text.size());
    words.emplace_back(text.substr(from, to - from));
    text.remove_prefix(to);
  }
}

Statement split_statement(std::string_view line) {
  Statement out;
  std::string_view rest = trim_blanks(line);
  out.text = rest;
  out.word = rest.substr(0, rest.find_first_of(kBlanks));
  out.keyword = find_keyword(out.word);
  rest.remove_prefix(out.word.size());
  rest.remove_prefix(std::min(rest.find_first_not_of(kBlanks), rest.size()));
  take_flags(rest, out.flags);
  out.rest = trim_blanks(rest);
  if (out.keyword && takes_json(*out.keyword)) out.json = read_json_form(out.rest);
  return out;
}

}  // namespace imgbuild::parser
