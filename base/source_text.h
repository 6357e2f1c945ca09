#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace imgbuild {

/// The text of one file a user wrote, with its name as the user knows it. Immutable and shared: every range
/// into it keeps it alive.
class SourceText {
 public:
  SourceText(std::string name, std::string text);

  const std::string& name() const noexcept { return name_; }
  const std::string& text() const noexcept { return text_; }
  int line_count() const noexcept { return static_cast<int>(line_starts_.size()); }
  /// The physical line `number` (1-based) without its line end; empty when there is no such line.
  std::string_view line(int number) const noexcept;

 private:
  std::string name_;
  std::string text_;
  std::vector<std::size_t> line_starts_;  // places in text_
};

/// A place in a source text. Lines and columns are 1-based; `first_line` 0 means the whole file.
/// Columns count bytes; 0 means the whole line. `last_line` is inclusive, `last_column` exclusive.
struct SourceRange {
  std::shared_ptr<const SourceText> text;
  int first_line = 0;
  int last_line = 0;
  int first_column = 0;
  int last_column = 0;
};

/// The excerpt shown under an error message:
///
///       --> Dockerfile:7
///        7 | COPY app/*.py /srv/
///          |      ^^^^^^^^
///
/// A range over several lines marks each with `>` and shows at most `max_lines` of them. Empty when the
/// range has no text.
std::string render_excerpt(const SourceRange& where, int max_lines = 12);

}  // namespace imgbuild
