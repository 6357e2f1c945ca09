#include "parser/place_of.h"

namespace imgbuild::parser {

namespace {

bool separates(char c) { return std::string_view(" \t\v\f\r=,[]\"'").find(c) != std::string_view::npos; }

}  // namespace

SourceRange place_of(std::string_view word, const SourceRange& where) {
  if (word.empty() || !where.text || where.first_column != 0 || where.first_line != where.last_line)
    return where;
  const std::string_view line = where.text->line(where.first_line);
  std::size_t found = std::string_view::npos;
  for (auto at = line.find(word); at != std::string_view::npos; at = line.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    const bool whole = (at == 0 || separates(line[at - 1])) && (end == line.size() || separates(line[end]));
    if (!whole) continue;
    if (found != std::string_view::npos) return where;
    found = at;
  }
  if (found == std::string_view::npos) return where;
  SourceRange narrow = where;
  narrow.first_column = static_cast<int>(found) + 1;
  narrow.last_column = static_cast<int>(found + word.size()) + 1;
  return narrow;
}

}  // namespace imgbuild::parser
