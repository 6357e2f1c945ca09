#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "parser/instruction.h"
#include "parser/physical_lines.h"

namespace imgbuild::parser {

/// The text of one instruction with its continuation lines joined (PAR-30…37).
struct LogicalLine {
  std::string text;  ///< trimmed at both ends
  int first_line = 0;
  int last_line = 0;                  ///< grows when heredoc bodies are read
  std::vector<std::string> comments;  ///< PAR-70
};

/// Cuts a file into logical lines. Comments vanish, but the block above an instruction travels with it.
class Lexer {
 public:
  Lexer(std::shared_ptr<const SourceText> source, char escape) : lines_(std::move(source)), escape_(escape) {}

  /// The next instruction; false at the end of the file.
  bool next(LogicalLine& line, std::vector<ParseWarning>& warnings);
  /// Reads the bodies of `heredocs` from the lines that follow (HDC-6…8) and moves `line.last_line` behind
  /// them. Throws SyntaxError when one has no end or is too large.
  void read_heredocs(std::vector<Heredoc>& heredocs, LogicalLine& line);

  /// The number of the line read last.
  int line_number() const noexcept { return lines_.number(); }
  SourceRange range(int first, int last) const { return lines_.range(first, last); }

 private:
  /// Appends `text` without its continuation mark to `out`; true if there was one.
  bool append_continued(std::string_view text, std::string& out) const;
  void read_body(Heredoc& heredoc, const LogicalLine& line);

  PhysicalLines lines_;
  char escape_;
  std::vector<std::string> comments_;
};

}  // namespace imgbuild::parser
