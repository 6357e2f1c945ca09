#pragma once

#include <string>
#include <string_view>

namespace imgbuild::parser {

/// The shortest equal path by text alone: no `.`, no `//`, no `/` at the end, `..` taken with what precedes
/// it. An empty path is `.`; `..` at the start of a relative path stays.
std::string clean_path(std::string_view path);

}  // namespace imgbuild::parser
