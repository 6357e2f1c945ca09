#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "builder/environment.h"
#include "builder/evaluate.h"
#include "builder/from_lines.h"
#include "parser/instruction.h"

namespace imgbuild::builder {

/// SOURCE_DATE_EPOCH as decimal seconds; nothing when `text` is no such number.
std::optional<std::int64_t> parse_epoch_seconds(std::string_view text);

/// The one remote source of a stage that SOURCE_DATE_EPOCH names (SDE-2): such a stage is FROM scratch and
/// holds nothing but ARG lines and an ADD. Throws SyntaxError for any other, located.
RemoteAdd source_date_add(const parser::Stage& stage, const BuildArgs& build_args, const GlobalScope& globals,
                          char escape, ExpansionBudget& budget);

}  // namespace imgbuild::builder
