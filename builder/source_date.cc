#include "builder/source_date.h"

#include <charconv>

#include "base/error.h"
#include "base/strings.h"
#include "builder/evaluation.h"
#include "parser/git_reference.h"
#include "parser/words.h"

namespace imgbuild::builder {

namespace {

constexpr std::string_view kName = "SOURCE_DATE_EPOCH";

/// Reads a stage for the one source it adds. Its variables are all globals, whether it declares them or not,
/// except SOURCE_DATE_EPOCH, which is being found out.
class SourceOnlyStage {
 public:
  SourceOnlyStage(const BuildArgs& build_args, const GlobalScope& globals, char escape,
                  ExpansionBudget& budget)
      : build_args_(build_args), globals_(globals), escape_(escape), budget_(budget) {}

  void check_base(const parser::FromInstruction& from) const {
    if (expand(from.base) != "scratch") throw SyntaxError(cat(kName, " stage must use FROM scratch"));
  }

  void take(const parser::Instruction& instruction) {
    if (const auto* arg = std::get_if<parser::ArgInstruction>(&instruction.body)) {
      for (const auto& definition : arg->args) define(definition);
      return;
    }
    const auto* add = std::get_if<parser::CopyInstruction>(&instruction.body);
    if (add == nullptr || !add->is_add) {
      throw SyntaxError(cat(kName, " stage does not meet source-only requirements: unsupported ",
                            to_upper(instruction.keyword), " instruction"));
    }
    if (found_) throw_count();
    if (!add->inline_sources.empty() || add->sources.size() != 1)
      throw SyntaxError(cat(kName, " stage must contain exactly one remote ADD source"));
    RemoteAdd source{expand(add->sources.front()), expand(add->checksum)};
    const auto git = parser::parse_git_reference(source.source);
    if (!source.source.starts_with("http://") && !source.source.starts_with("https://") &&
        (!git || git->context_only))
      throw SyntaxError(cat(kName, " stage source must be a single HTTP(S) or Git ADD"));
    found_ = std::move(source);
  }

  RemoteAdd result() const {
    if (!found_) throw_count();
    return *found_;
  }

 private:
  [[noreturn]] static void throw_count() {
    throw SyntaxError(cat(kName, " stage must contain exactly one remote ADD"));
  }

  std::string expand(const std::string& word) const {
    const auto lookup = [this](std::string_view name) -> std::optional<std::string_view> {
      const std::string* value = own_.find(name);
      if (value == nullptr && name != kName) value = globals_.find(name);
      return value == nullptr ? std::nullopt : std::optional<std::string_view>(*value);
    };
    auto expansion = parser::expand_word(word, lookup, escape_);
    budget_.spend(expansion.cost);
    return std::move(expansion.text);
  }

  void define(const parser::ArgDefinition& definition) {
    if (definition.key == kName) return;
    if (const auto given = build_args_.find(definition.key); given != build_args_.end()) {
      own_.set(definition.key, given->second);
    } else if (definition.value) {
      own_.set(definition.key, expand(*definition.value));
    }
  }

  const BuildArgs& build_args_;
  const GlobalScope& globals_;
  char escape_;
  ExpansionBudget& budget_;
  Environment own_;
  std::optional<RemoteAdd> found_;
};

}  // namespace

std::optional<std::int64_t> parse_epoch_seconds(std::string_view text) {
  std::int64_t seconds = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, seconds);
  return stop == end && code == std::errc() ? std::optional(seconds) : std::nullopt;
}

RemoteAdd source_date_add(const parser::Stage& stage, const BuildArgs& build_args, const GlobalScope& globals,
                          char escape, ExpansionBudget& budget) {
  SourceOnlyStage reader(build_args, globals, escape, budget);
  const parser::Instruction* at = &stage.from;
  try {
    reader.check_base(stage.from_body());
    for (const auto& instruction : stage.commands) {
      at = &instruction;
      reader.take(instruction);
    }
    at = &stage.from;
    return reader.result();
  } catch (Error& error) {
    error.locate(at->where);
    throw;
  }
}

std::optional<std::int64_t> BaseResolver::context_time(const std::string&) { return std::nullopt; }
std::optional<std::int64_t> BaseResolver::remote_time(const RemoteAdd&) { return std::nullopt; }

/// SDE-1, SDE-3.
void Evaluation::resolve_source_date() {
  const auto given = build_args_.find(kName);
  const GlobalArg* global = globals_->declaration(kName);
  if (given == build_args_.end() && (global == nullptr || !global->value)) return;
  const std::string text = given != build_args_.end() ? given->second : *global->value;
  if (text.empty()) return;
  try {
    source_date_epoch_ = epoch_named(text);
  } catch (Error& error) {
    if (given == build_args_.end()) error.locate(global->where);
    throw;
  }
  const std::string value = source_date_epoch_ ? cat(*source_date_epoch_) : std::string();
  if (given != build_args_.end()) given->second = value;
  if (global != nullptr) globals_->set(kName, value);
}

/// SDE-2. Of several stages with that name the first counts, as in the reference.
std::optional<std::int64_t> Evaluation::epoch_named(const std::string& text) {
  if (const auto seconds = parse_epoch_seconds(text)) return seconds;
  if (text == "context") return options_.context_time;
  if (is_context_name(text)) return bases_.context_time(text);
  for (const auto& stage : file_.stages) {
    const auto& name = stage.from_body().stage_name;
    if (!name || !equal_ignoring_case(*name, text)) continue;
    const RemoteAdd add = source_date_add(stage, build_args_, *globals_, file_.escape, budget_);
    try {
      return bases_.remote_time(add);
    } catch (Error& error) {
      error.locate(stage.from.where);
      throw;
    }
  }
  Error error(cat("invalid SOURCE_DATE_EPOCH: ", printable(text)), ExitCode::usage);
  error.add_note(
      "write seconds since 1970, `context`, or the name of a named context or of a stage with one remote "
      "ADD");
  throw error;
}

}  // namespace imgbuild::builder
