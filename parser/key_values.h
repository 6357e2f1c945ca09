#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace imgbuild::parser {

/// Splits at blanks; quotes and escapes protect blanks and stay in the word (PAR-60). An unbalanced quote
/// protects to the end.
std::vector<std::string> split_quoted_words(std::string_view text, char escape);

}  // namespace imgbuild::parser
