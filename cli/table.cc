#include "cli/table.h"

#include <algorithm>

#include "base/strings.h"

namespace imgbuild::cli {

void Table::add(std::vector<std::string> row) {
  for (auto& cell : row) cell = printable(cell);
  rows_.push_back(std::move(row));
}

std::string Table::text() const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += i + 1 == row.size() ? row[i] : pad_right(row[i], widths[i] + 2);
    while (line.ends_with(' ')) line.pop_back();
    out += cat(line, "\n");
  }
  return out;
}

}  // namespace imgbuild::cli
