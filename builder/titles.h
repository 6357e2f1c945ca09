#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "parser/instruction.h"
#include "parser/words.h"

namespace imgbuild::builder {

/// The title of a step: keyword in capitals, source text with known variables replaced, unknown ones and
/// quotes as they stand, "ONBUILD " in front of a trigger (PRG-3, PRG-4). Values are filled in until they
/// have cost 1 MiB; `cost` is what they did cost.
std::string step_title(const parser::Instruction& instruction, const parser::VariableLookup& lookup,
                       char escape, bool from_trigger, std::uint64_t& cost);
/// "(first line...)" for a RUN whose whole command is a here-document.
std::string heredoc_summary(std::string_view data);

}  // namespace imgbuild::builder
