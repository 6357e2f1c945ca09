#include "parser/physical_lines.h"

#include "base/error.h"
#include "base/strings.h"
#include "parser/limits.h"

namespace imgbuild::parser {

std::string_view trim_line_end(std::string_view line) noexcept {
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  return line;
}

PhysicalLines::PhysicalLines(std::shared_ptr<const SourceText> source)
    : source_(std::move(source)), rest_(source_->text()) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (rest_.starts_with(kByteOrderMark)) rest_.remove_prefix(kByteOrderMark.size());
}

bool PhysicalLines::next() {
  if (rest_.empty()) return false;
  const auto end = rest_.find('\n');
  raw_ = rest_.substr(0, end == std::string_view::npos ? end : end + 1);
  rest_.remove_prefix(raw_.size());
  ++number_;
  if (raw_.size() - (raw_.ends_with('\n') ? 1 : 0) > kMaxLineBytes) {
    throw SyntaxError(cat("the line is longer than the maximum size of ", kMaxLineBytes, " bytes"), range());
  }
  return true;
}

std::string_view PhysicalLines::text() const noexcept { return trim_line_end(raw_); }

}  // namespace imgbuild::parser
