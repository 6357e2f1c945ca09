#include <algorithm>
#include <set>

#include "base/strings.h"
#include "builder/lint.h"

namespace imgbuild::builder {

namespace {

using parser::Instruction;

bool is_lower(std::string_view word) { return to_lower(word) == word; }
bool is_upper(std::string_view word) { return to_upper(word) == word; }

void check_stage_names(const parser::Dockerfile& file, Linter& linter) {
  std::set<std::string> known;
  for (const auto& stage : file.stages) {
    const auto& from = stage.from_body();
    if (!from.stage_name) continue;
    const std::string& name = *from.stage_name;
    if (from.stage_name_as_written != name) {
      linter.report("StageNameCasing",
                    cat("Stage name '", from.stage_name_as_written, "' should be lowercase"), stage.from);
    }
    if (!known.insert(name).second) {
      linter.report("DuplicateStageName",
                    cat("Duplicate stage name \"", name, "\", stage names should be unique"), stage.from);
    }
    if (name == "scratch" || name == "context") {
      linter.report("ReservedStageName",
                    cat("Stage name should not use the same name as reserved stage \"", name, "\""),
                    stage.from);
    }
    const std::string& as = from.as_keyword;
    const bool mixed = !is_lower(as) && !is_upper(as);
    if (mixed || is_upper(as) != is_upper(stage.from.keyword)) {
      linter.report("FromAsCasing",
                    cat("'", as, "' and '", stage.from.keyword, "' keywords' casing do not match"),
                    stage.from);
    }
  }
}

template <typename Visit>
void for_each_instruction(const parser::Dockerfile& file, Visit visit) {
  for (const auto& stage : file.stages) {
    visit(stage.from);
    for (const auto& instruction : stage.commands) visit(instruction);
  }
}

void check_casing(const parser::Dockerfile& file, Linter& linter) {
  std::size_t lower = 0;
  std::size_t upper = 0;
  for_each_instruction(file, [&](const Instruction& instruction) {
    lower += is_lower(instruction.keyword) ? 1 : 0;
    upper += is_upper(instruction.keyword) ? 1 : 0;
  });
  const bool want_lower = lower > upper;
  for_each_instruction(file, [&](const Instruction& instruction) {
    const std::string& word = instruction.keyword;
    if (want_lower ? is_lower(word) : is_upper(word)) return;
    linter.report("ConsistentInstructionCasing",
                  cat("Command '", word, "' should match the case of the command majority (",
                      want_lower ? "lowercase" : "uppercase", ")"),
                  instruction);
  });
}

void check_obsolete(const Instruction& instruction, Linter& linter) {
  if (std::holds_alternative<parser::MaintainerInstruction>(instruction.body)) {
    linter.report("MaintainerDeprecated", "Maintainer instruction is deprecated in favor of using label",
                  instruction);
  }
  const auto* env = std::get_if<parser::EnvInstruction>(&instruction.body);
  const auto* label = std::get_if<parser::LabelInstruction>(&instruction.body);
  if ((env != nullptr && env->legacy_form) || (label != nullptr && label->legacy_form)) {
    const std::string& word = instruction.keyword;
    linter.report(
        "LegacyKeyValueFormat",
        cat("\"", word, " key=value\" should be used instead of legacy \"", word, " key value\" format"),
        instruction);
  }
}

/// The last comment line above a definition starts with the name it defines.
void check_description(const Instruction& instruction, Linter& linter) {
  std::vector<std::string> names;
  std::string keyword = "ARG";
  if (const auto* arg = std::get_if<parser::ArgInstruction>(&instruction.body)) {
    for (const auto& definition : arg->args) names.push_back(definition.key);
  } else if (const auto* from = std::get_if<parser::FromInstruction>(&instruction.body)) {
    keyword = "FROM";
    if (from->stage_name) names.push_back(*from->stage_name);
  }
  if (names.empty() || instruction.comments.empty()) return;
  const std::string& comment = instruction.comments.back();
  const std::string word = comment.substr(0, comment.find(' '));
  if (word.starts_with("check=")) return;
  if (std::find(names.begin(), names.end(), word) != names.end()) return;
  const std::string example = names.size() == 1 ? names[0] : "<arg_key>";
  linter.report("InvalidDefinitionDescription",
                cat("Comment for ", keyword, " should follow the format: `# ", example, " <description>`"),
                instruction);
}

}  // namespace

void check_file(const parser::Dockerfile& file, Linter& linter) {
  for (const auto& warning : file.warnings) linter.report(warning.rule, warning.detail, warning.where);
  check_stage_names(file, linter);
  check_casing(file, linter);
  for (const auto& arg : file.global_args) check_description(arg, linter);
  for_each_instruction(file, [&](const Instruction& instruction) {
    check_obsolete(instruction, linter);
    check_description(instruction, linter);
  });
}

}  // namespace imgbuild::builder
