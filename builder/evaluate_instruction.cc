#include "builder/evaluate_instruction.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "builder/history.h"
#include "builder/titles.h"
#include "parser/paths.h"
#include "parser/place_of.h"
#include "parser/word_error.h"

namespace imgbuild::builder {

InstructionEvaluator::InstructionEvaluator(Evaluation& evaluation, std::size_t number, StageState& stage,
                                           const parser::Instruction& instruction, bool from_trigger,
                                           char escape)
    : evaluation_(evaluation),
      number_(number),
      stage_(stage),
      instruction_(instruction),
      from_trigger_(from_trigger),
      escape_(escape) {}

void InstructionEvaluator::apply() {
  try {
    std::visit(*this, instruction_.body);
  } catch (parser::WordError& error) {
    error.locate(parser::place_of(error.word(), instruction_.where));
    throw;
  } catch (Error& error) {
    error.locate(instruction_.where);
    throw;
  }
}

std::string InstructionEvaluator::expand(std::string_view word) {
  auto expansion = parser::expand_word(word, stage_.env.lookup(), escape_);
  report_undefined(expansion.unset);
  return std::move(expansion.text);
}

InstructionEvaluator::Pairs InstructionEvaluator::expand_pairs(const std::vector<parser::KeyValue>& pairs) {
  Pairs out;
  for (const auto& [key, value] : pairs) {
    std::string expanded_key = expand(key);
    out.emplace_back(std::move(expanded_key), expand(value));
  }
  return out;
}

bool InstructionEvaluator::is_declared(std::string_view name) const {
  return std::find(stage_.args.begin(), stage_.args.end(), name) != stage_.args.end();
}

void InstructionEvaluator::report_undefined(const std::set<std::string>& unset) {
  for (const auto& name : unset) {
    if (is_declared(name)) continue;  // declared without a value is no mistake
    std::vector<std::string> known = stage_.env.names();
    known.insert(known.end(), stage_.args.begin(), stage_.args.end());
    const auto close = nearest(name, known);
    evaluation_.linter().report(
        "UndefinedVar",
        cat("Usage of undefined variable '$", name, "'", close ? cat(" (did you mean $", *close, "?)") : ""),
        instruction_);
  }
}

void InstructionEvaluator::add_empty_history(std::string created_by) {
  stage_.planned.history.push_back(history_entry(std::move(created_by), true));
}

void InstructionEvaluator::add_step(decltype(PlanStep::op) op, std::string title, std::string created_by) {
  PlanStep step;
  step.op = std::move(op);
  step.title = std::move(title);
  step.from_trigger = from_trigger_;
  step.where = instruction_.where;
  step.history = stage_.planned.history.size();
  stage_.planned.history.push_back(history_entry(std::move(created_by), false));
  stage_.planned.steps.push_back(std::move(step));
}

std::string InstructionEvaluator::title() const {
  return step_title(instruction_, stage_.env.lookup(), escape_, from_trigger_);
}

/// `path` below the working directory when it is relative; clean, never above the root.
std::string InstructionEvaluator::join_workdir(std::string_view path) const {
  if (path.starts_with('/')) return parser::clean_path(path);
  return parser::clean_path(cat("/", stage_.planned.config.config.working_dir, "/", path));
}

std::vector<std::string> InstructionEvaluator::with_shell(const parser::CommandLine& command) const {
  if (!command.shell_form) return command.words;
  std::vector<std::string> words = stage_.planned.config.config.shell;
  if (words.empty()) {
    words = is_windows() ? std::vector<std::string>{"cmd", "/S", "/C"}
                         : std::vector<std::string>{"/bin/sh", "-c"};
  }
  words.insert(words.end(), command.words.begin(), command.words.end());
  return words;
}

void InstructionEvaluator::check_repeated(const std::string& keyword) {
  const parser::Instruction*& last = stage_.last_of_kind[keyword];
  if (last != nullptr) {
    evaluation_.linter().report(
        "MultipleInstructionsDisallowed",
        cat("Multiple ", keyword,
            " instructions should not be used in the same stage because only the last one will "
            "be used"),
        *last);
  }
  last = &instruction_;
}

void InstructionEvaluator::check_shell_form(const std::string& keyword, const parser::CommandLine& command) {
  if (!command.shell_form || !config().shell.empty()) return;
  evaluation_.linter().report("JSONArgsRecommended",
                              cat("JSON arguments recommended for ", keyword,
                                  " to prevent unintended behavior related to OS signals"),
                              instruction_);
}

}  // namespace imgbuild::builder
