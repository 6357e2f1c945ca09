#include "parser/directives.h"

#include <set>
#include <string_view>

#include "base/error.h"
#include "base/strings.h"
#include "parser/code_points.h"
#include "parser/physical_lines.h"

namespace imgbuild::parser {

namespace {

struct DirectiveLine {
  std::string key;  // lower-cased
  std::string_view value;
};

bool is_ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// `# key = value`, the `#` at the very start, with a known key; otherwise nothing (PAR-10, PAR-11).
std::optional<DirectiveLine> parse_directive(std::string_view line) {
  if (!line.starts_with('#')) return std::nullopt;
  line = trim(line.substr(1));
  std::size_t length = 0;
  while (length < line.size() && (is_ascii_letter(line[length]) ||
                                  (length > 0 && is_digit(static_cast<unsigned char>(line[length])))))
    ++length;
  DirectiveLine directive{to_lower(line.substr(0, length)), {}};
  line = trim(line.substr(length));
  if (!line.starts_with('=')) return std::nullopt;
  directive.value = trim(line.substr(1));
  const bool known = directive.key == "syntax" || directive.key == "escape" || directive.key == "check";
  if (!known || directive.value.empty()) return std::nullopt;
  return directive;
}

std::string_view first_word(std::string_view text) { return text.substr(0, text.find_first_of(" \t\r\v\f")); }

/// The directives as the lexer sees them: blanks before the `#` are allowed (PAR-15). Only `escape` has an
/// effect.
void read_escape(PhysicalLines lines, Directives& out) {
  std::set<std::string> seen;
  while (lines.next()) {
    const auto directive = parse_directive(trim_left_blanks(lines.text()));
    if (!directive) return;
    if (!seen.insert(directive->key).second) {
      throw SyntaxError(cat("only one ", directive->key, " parser directive can be used"), lines.range());
    }
    if (directive->key != "escape") continue;
    if (directive->value != "`" && directive->value != "\\") {
      throw SyntaxError(
          cat("invalid escape token '", printable(directive->value), "' does not match ` or \\"),
          lines.range());
    }
    out.escape = directive->value.front();
  }
}

/// `syntax` and `check` look at raw lines, behind a `#!` line if there is one (PAR-15, PAR-16).
void read_others(PhysicalLines lines, Directives& out) {
  while (lines.next()) {
    if (lines.number() == 1 && lines.text().starts_with("#!")) continue;
    const auto directive = parse_directive(lines.text());
    if (!directive) return;
    if (directive->key == "syntax") {
      out.syntax = SyntaxDirective{std::string(first_word(directive->value)), std::string(directive->value),
                                   lines.number()};
    } else if (directive->key == "check") {
      out.check = std::string(first_word(directive->value));  // PAR-20
      out.check_line = lines.number();
    }
  }
}

}  // namespace

Directives read_directives(const std::shared_ptr<const SourceText>& source) {
  Directives out;
  read_escape(PhysicalLines(source), out);
  read_others(PhysicalLines(source), out);
  return out;
}

}  // namespace imgbuild::parser
