#pragma once

#include <string>
#include <vector>

namespace imgbuild::cli {

/// Rows of text in columns, for a terminal. Cells are made safe to print.
class Table {
 public:
  explicit Table(std::vector<std::string> heading) { add(std::move(heading)); }
  void add(std::vector<std::string> row);
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace imgbuild::cli
