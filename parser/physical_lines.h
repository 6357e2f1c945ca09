#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include "base/source_text.h"

namespace imgbuild::parser {

/// Walks over the physical lines of a file (PAR-4, PAR-5). A byte-order mark at the start is left out.
class PhysicalLines {
 public:
  explicit PhysicalLines(std::shared_ptr<const SourceText> source);

  /// Goes to the next line; false at the end. Throws SyntaxError for a line over the limit of PAR-6.
  bool next();
  /// The current line with its line end.
  std::string_view raw() const noexcept { return raw_; }
  /// The current line without its line end.
  std::string_view text() const noexcept;
  /// 1-based; 0 before the first line.
  int number() const noexcept { return number_; }
  SourceRange range(int first, int last) const { return {source_, first, last, 0, 0}; }
  SourceRange range() const { return range(number_, number_); }
  const std::shared_ptr<const SourceText>& source() const noexcept { return source_; }

 private:
  std::shared_ptr<const SourceText> source_;
  std::string_view rest_;
  std::string_view raw_;
  int number_ = 0;
};

/// `line` without the carriage returns and line feeds at its end.
std::string_view trim_line_end(std::string_view line) noexcept;

}  // namespace imgbuild::parser
