#pragma once

#include <string>

#include "parser/instruction.h"

namespace imgbuild::parser {

/// The parsed tree as text for people (`imgbuild debug dockerfile`): one line an instruction, its parts
/// indented below. Texts are quoted and safe to print. Not a format to parse.
std::string dump(const Dockerfile& file);
std::string dump(const Instruction& instruction);

}  // namespace imgbuild::parser
