#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace imgbuild::parser {

/// The words of an instruction in JSON form (PAR-61, PAR-62); nothing when `text` is no JSON array, which
/// then is the shell form. Throws SyntaxError for a JSON array that holds anything but strings.
std::optional<std::vector<std::string>> read_json_form(std::string_view text);

}  // namespace imgbuild::parser
