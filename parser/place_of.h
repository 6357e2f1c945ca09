#pragma once

#include <string_view>

#include "base/source_text.h"

namespace imgbuild::parser {

/// `where` narrowed to `word`, when it is one line that holds the word exactly once, as a word of its own:
/// between blanks, quotes, brackets, commas or `=`. Otherwise `where` as it is: a caret never points at a
/// guess, and an instruction over several lines stays located at all of them (PAR-37).
SourceRange place_of(std::string_view word, const SourceRange& where);

}  // namespace imgbuild::parser
