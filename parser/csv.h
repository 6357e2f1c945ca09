#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace imgbuild::parser {

/// The fields of one comma-separated record, quoted as in RFC 4180. Throws SyntaxError when it is malformed
/// or empty.
std::vector<std::string> read_csv_record(std::string_view text);

}  // namespace imgbuild::parser
