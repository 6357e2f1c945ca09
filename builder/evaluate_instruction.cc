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
  auto expansion = parser::expand_word(word, stage_.scope.lookup(), escape_);
  spend(expansion.cost);
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

/// NET-26: an instruction has a limit of its own.
void InstructionEvaluator::spend(std::uint64_t bytes) {
  constexpr std::uint64_t kMaxInstructionBytes = std::uint64_t{16} << 20;
  spent_ += bytes;
  if (spent_ > kMaxInstructionBytes)
    throw SyntaxError("the variables of this instruction expand to more than 16 MiB");
  evaluation_.budget().spend(bytes);
}

void InstructionEvaluator::report_undefined(const std::set<std::string>& unset) {
  for (const auto& name : unset) {
    if (stage_.scope.is_declared(name)) continue;  // declared without a value is no mistake
    const auto close =
        evaluation_.linter().suggestion(name, stage_.scope.count(), [this] { return stage_.scope.names(); });
    evaluation_.linter().report(
        "UndefinedVar",
        cat("Usage of undefined variable '$", name, "'", close ? cat(" (did you mean $", *close, "?)") : ""),
        instruction_);
  }
}

void InstructionEvaluator::add_empty_history(std::string created_by) {
  evaluation_.budget().spend(created_by.size());
  stage_.planned.history.push_back(history_entry(std::move(created_by), true));
}

void InstructionEvaluator::add_step(decltype(PlanStep::op) op, std::string title, std::string created_by) {
  evaluation_.budget().spend(created_by.size());
  PlanStep step;
  step.op = std::move(op);
  step.title = std::move(title);
  step.from_trigger = from_trigger_;
  step.where = instruction_.where;
  step.history = stage_.planned.history.size();
  stage_.planned.history.push_back(history_entry(std::move(created_by), false));
  stage_.planned.steps.push_back(std::move(step));
}

std::string InstructionEvaluator::title() {
  std::uint64_t cost = 0;
  std::string text = step_title(instruction_, stage_.scope.lookup(), escape_, from_trigger_, cost);
  spend(cost);
  return text;
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
