#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace imgbuild::parser {

/// `%41` becomes `A`. Throws SyntaxError for a `%` without two hex digits.
std::string percent_decode(std::string_view text);
/// The pairs of a query in form encoding: decoded, `+` means a blank, a key without `=` has an empty value.
std::map<std::string, std::vector<std::string>> parse_query(std::string_view query);

}  // namespace imgbuild::parser
