#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parser/instruction.h"

namespace imgbuild::parser {

/// The here-document a word announces (`<<EOF`, `3<<-"EOF"`), its body still empty; nothing if the word is no
/// marker (HDC-2…5).
std::optional<Heredoc> parse_heredoc_marker(std::string_view word);

/// All markers of one logical line in order. Nothing at all when the line is no sequence of shell words, for
/// example with an unbalanced quote (HDC-2). Linear in the line.
std::vector<Heredoc> find_heredoc_markers(std::string_view line);

}  // namespace imgbuild::parser
