#include "base/source_text.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"

namespace imgbuild {

SourceText::SourceText(std::string name, std::string text) : name_(std::move(name)), text_(std::move(text)) {
  for (std::size_t at = 0; at < text_.size();) {
    line_starts_.push_back(at);
    const auto end = text_.find('\n', at);
    at = end == std::string::npos ? text_.size() : end + 1;
  }
}

std::string_view SourceText::line(int number) const noexcept {
  if (number < 1 || number > line_count()) return {};
  const std::string_view rest =
      std::string_view(text_).substr(line_starts_[static_cast<std::size_t>(number - 1)]);
  auto found = rest.substr(0, rest.find('\n'));
  if (!found.empty() && found.back() == '\r') found.remove_suffix(1);
  return found;
}

namespace {

/// Which bytes of a single line the range means: its columns, or without columns all but the blanks around.
std::pair<std::size_t, std::size_t> marked_part(std::string_view line, const SourceRange& where) {
  if (where.first_column < 1) {
    const auto first = line.find_first_not_of(" \t");
    return first == std::string_view::npos ? std::pair<std::size_t, std::size_t>(0, 0)
                                           : std::pair(first, line.find_last_not_of(" \t") + 1);
  }
  const auto from = static_cast<std::size_t>(where.first_column - 1);
  if (from > line.size()) return {0, 0};
  if (where.last_column <= where.first_column) return {from, std::max(line.size(), from + 1)};
  const auto last = static_cast<std::size_t>(where.last_column - 1);
  return {from, std::clamp<std::size_t>(last, from + 1, std::max(line.size(), from + 1))};
}

}  // namespace

std::string render_excerpt(const SourceRange& where, int max_lines) {
  if (!where.text) return {};
  std::string out = cat("  --> ", printable(where.text->name()));
  if (where.first_line < 1) return out + "\n";
  out += cat(":", where.first_line);
  if (where.first_column > 0) out += cat(":", where.first_column);
  out += "\n";

  const int last = std::max(where.first_line, where.last_line);
  const int shown_last = std::min(last, where.first_line + max_lines - 1);
  const std::size_t width = std::max<std::size_t>(2, cat(last).size());
  const bool many = last > where.first_line;
  for (int number = where.first_line; number <= shown_last; ++number) {
    const std::string_view line = where.text->line(number);
    out += cat(pad_left(cat(number), width + 2), many ? " > " : " | ", printable(line), "\n");
    if (many) continue;
    const auto [from, to] = marked_part(line, where);
    if (from >= to) continue;
    // Both sides are measured as they are shown, so that the caret stays under its text.
    const std::size_t lead = display_width(printable(line.substr(0, from)));
    const std::size_t mark = std::max<std::size_t>(1, display_width(printable(line.substr(from, to - from))));
    out += cat(std::string(width + 2, ' '), " | ", std::string(lead, ' '), std::string(mark, '^'), "\n");
  }
  if (shown_last < last) out += cat(pad_left("...", width + 2), " (", last - shown_last, " more lines)\n");
  return out;
}

}  // namespace imgbuild
