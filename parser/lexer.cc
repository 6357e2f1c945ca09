#include "parser/lexer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "parser/code_points.h"
#include "parser/limits.h"

namespace imgbuild::parser {

namespace {

bool is_comment(std::string_view line) { return trim_left_blanks(line).starts_with('#'); }

void collect_comment(std::string_view line, std::vector<std::string>& comments) {
  // Only the first byte goes, so that an indented comment keeps its `#` and never counts as a description.
  const std::string_view text = trim_blanks(line.substr(1));
  if (text.empty()) {
    comments.clear();
  } else {
    comments.emplace_back(text);
  }
}

}  // namespace

bool Lexer::append_continued(std::string_view text, std::string& out) const {
  const auto last = text.find_last_not_of(" \t");
  const bool escaped =
      last != std::string_view::npos && text[last] == escape_ && (last == 0 || text[last - 1] != escape_);
  out += escaped ? text.substr(0, last) : text;
  return escaped;
}

bool Lexer::next(LogicalLine& line, std::vector<ParseWarning>& warnings) {
  while (lines_.next()) {
    if (is_comment(lines_.text())) {
      collect_comment(lines_.text(), comments_);
      continue;
    }
    std::string text;
    bool continues = append_continued(trim_left_blanks(lines_.text()), text);
    if (!continues && text.empty()) continue;

    const int first_line = lines_.number();
    bool has_empty_line = false;
    while (continues && lines_.next()) {
      if (is_comment(lines_.text())) continue;
      if (trim_left_blanks(lines_.text()).empty()) {
        has_empty_line = true;
        continue;
      }
      continues = append_continued(lines_.text(), text);
    }
    const int last_line = lines_.number();
    if (has_empty_line) {
      warnings.push_back({"NoEmptyContinuation", "Empty continuation line", lines_.range()});
    }
    line = {std::string(trim_blanks(text)), first_line, last_line, std::exchange(comments_, {})};
    return true;
  }
  return false;
}

void Lexer::read_heredocs(std::vector<Heredoc>& heredocs, LogicalLine& line) {
  for (auto& heredoc : heredocs) {
    read_body(heredoc, line);
    line.last_line = lines_.number();
  }
}

void Lexer::read_body(Heredoc& heredoc, const LogicalLine& line) {
  while (lines_.next()) {
    std::string_view candidate = lines_.text();
    if (heredoc.chomp) candidate.remove_prefix(std::min(candidate.find_first_not_of('\t'), candidate.size()));
    if (candidate == heredoc.name) return;
    if (heredoc.data.size() + lines_.raw().size() > kMaxHeredocBytes) {
      throw SyntaxError("the here-document is larger than 8 MiB",
                        lines_.range(line.first_line, lines_.number()));
    }
    heredoc.data += lines_.raw();
  }
  SyntaxError error(cat("unterminated heredoc: no line is exactly \"", printable(heredoc.name), "\""),
                    lines_.range(line.first_line, lines_.number()));
  throw error;
}

}  // namespace imgbuild::parser
