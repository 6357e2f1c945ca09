#include "base/strings.h"
#include "builder/evaluate_instruction.h"
#include "builder/history.h"

namespace imgbuild::builder {

void InstructionEvaluator::operator()(const parser::ArgInstruction& arg) {
  std::vector<std::string> texts;
  for (const auto& definition : arg.args)
    define_arg(definition, texts);  // later ones see earlier ones (VAR-9)
  add_empty_history(cat("ARG ", join(texts, " ")));
}

/// ARG-3: build argument, else default, else global or automatic value, else unset.
void InstructionEvaluator::define_arg(const parser::ArgDefinition& definition,
                                      std::vector<std::string>& texts) {
  const std::string& name = definition.key;
  if (names_a_secret(name)) {
    evaluation_.linter().report(
        "SecretsUsedInArgOrEnv",
        cat("Do not use ARG or ENV instructions for sensitive data (ARG \"", name, "\")"), instruction_);
  }
  std::optional<std::string> value;
  bool inherited = false;
  if (const auto given = evaluation_.build_args().find(name); given != evaluation_.build_args().end()) {
    value = given->second;
  } else if (definition.value) {
    value = expand(*definition.value);
  } else if (const std::string* global = evaluation_.globals().find(name)) {
    value = *global;
    inherited = true;
  }
  stage_.scope.declare(name);
  note_arg(definition, value, inherited);
  texts.push_back(value ? cat(name, "=", *value) : name);
  if (value) stage_.scope.set(name, std::move(*value));
}

/// SUB-1: an ARG that takes a global's value is shown as that global, with the globals its default needs.
void InstructionEvaluator::note_arg(const parser::ArgDefinition& definition,
                                    const std::optional<std::string>& value, bool inherited) {
  const std::string& name = definition.key;
  const GlobalArg* global = evaluation_.globals().declaration(name);
  if (inherited && global != nullptr && global->value) {
    evaluation_.note_global(stage_, name);
    return;
  }
  if (!definition.value && evaluation_.globals().is_automatic(name)) return;
  stage_.outline_args[name] = {name, definition.doc, value, instruction_.where};
}

}  // namespace imgbuild::builder
