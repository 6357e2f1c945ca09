#pragma once

#include <memory>

#include "base/source_text.h"
#include "parser/instruction.h"

namespace imgbuild::parser {

/// Turns the text of a Dockerfile into stages (dockerfile.md sections 1.1 to 1.7, limits of NET-26).
/// Opens no file, expands nothing. Throws SyntaxError with the exact line range of the first mistake and,
/// where there is a likely one, a note "did you mean …". Linear in the size of the text.
Dockerfile parse_dockerfile(std::shared_ptr<const SourceText> source);

/// Parses the text of one ONBUILD trigger (ONB-4): exactly one instruction, default escape character.
/// Every range in the result is `where` (ONB-6).
Instruction parse_trigger(const std::string& expression, const SourceRange& where);

}  // namespace imgbuild::parser
