#include "builder/evaluate.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "builder/evaluate_instruction.h"
#include "builder/evaluation.h"
#include "builder/front_end.h"
#include "parser/parser.h"

namespace imgbuild::builder {

namespace {

constexpr std::string_view kDefaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// ARG-9.
std::string target_stage_name(const parser::Dockerfile& file, const EvaluateOptions& options) {
  if (options.target && !options.target->empty()) return *options.target;
  return file.stages.back().from_body().stage_name.value_or("default");
}

/// CFG-2.
void add_default_path(oci::ImageConfig& config) {
  auto& env = config.config.env;
  const bool has_path =
      std::any_of(env.begin(), env.end(), [](const auto& entry) { return entry.starts_with("PATH="); });
  if (!has_path && config.platform.os != "windows") env.emplace_back(kDefaultPath);
}

std::uint64_t bytes_of(const std::vector<std::string>& words) {
  std::uint64_t bytes = 0;
  for (const auto& word : words) bytes += word.size() + 64;
  return bytes;
}

/// About the memory that a stage FROM `below` takes for what it inherits.
std::uint64_t inherited_bytes(const StageState& below) {
  constexpr std::uint64_t kEntry = 64;
  const oci::RuntimeConfig& config = below.planned.config.config;
  std::uint64_t bytes =
      2 * below.scope.bytes() + kEntry * (2 * below.scope.count() + config.exposed_ports.size());
  bytes += config.user.size() + bytes_of(config.shell) + bytes_of(config.on_build);
  if (config.cmd) bytes += bytes_of(*config.cmd);
  if (config.entrypoint) bytes += bytes_of(*config.entrypoint);
  if (config.healthcheck) bytes += bytes_of(config.healthcheck->test);
  for (const auto& [key, value] : config.labels) bytes += key.size() + value.size() + kEntry;
  for (const auto& path : config.volumes) bytes += path.size() + kEntry;
  return bytes;
}

}  // namespace

Evaluation::Evaluation(const parser::Dockerfile& file, const EvaluateOptions& options, BaseResolver& bases,
                       const std::function<void(const Warned&)>& warn)
    : file_(file),
      options_(options),
      bases_(bases),
      build_args_(collect_build_args(options.build_args)),
      linter_(file, build_args_, warn),
      stages_(file.stages.size()),
      proxies_(proxy_variables(build_args_)) {}

void Evaluation::run() {
  check_front_end(file_, build_args_);
  check_special_args(build_args_);
  check_file(file_, linter_);
  const Environment automatic =
      automatic_args(options_.build_platform, options_.target_platform, target_stage_name(file_, options_));
  globals_.emplace(file_, automatic, build_args_, budget_);
  resolve_source_date();
  std::optional<GlobalScope> defaults;
  try {
    ExpansionBudget own;
    defaults.emplace(file_, automatic, BuildArgs{}, own);
  } catch (const SyntaxError&) {
    // A default such as `${X:?text}` that only works with a build argument: then there is nothing to check.
  }
  heads_ = expand_from_lines(file_, *globals_, defaults ? &*defaults : nullptr, linter_, budget_);
  prepare_graph(heads_);
  target_ = graph_->find_target(options_.target);

  const bool all = options_.check_all_stages && (!options_.target || options_.target->empty());
  if (!all) {
    for (const std::size_t stage : graph_->reachable(target_)) ensure_stage(stage);
  } else {
    for (std::size_t stage = 0; stage < stages_.size(); ++stage) ensure_stage(stage);
  }
  finish_target(stages_[target_].planned);
  linter_.finish();
}

/// The graph sees neither the instructions of replaced stages (CTX-11) nor variables in COPY --from, which
/// lead to their stage once they are expanded (docs/adr/0005-variables-in-copy-from.md).
void Evaluation::prepare_graph(const std::vector<StageHead>& heads) {
  std::vector<std::string> bases;
  parser::GraphOptions options{.variables_lead_on = true, .closed_stages = {}};
  for (std::size_t i = 0; i < heads.size(); ++i) {
    const bool replaced = is_replaced(i);
    bases.push_back(replaced ? "" : heads[i].base);
    if (replaced) options.closed_stages.insert(i);
  }
  graph_.emplace(file_, bases, options);
}

bool Evaluation::is_replaced(std::size_t stage) {
  const auto& name = file_.stages[stage].from_body().stage_name;
  return name && *name != "scratch" && *name != "context" && is_context_name(*name);
}

void Evaluation::ensure_stage(std::size_t number) {
  if (stages_[number].evaluated) return;
  stages_[number].evaluated = true;
  if (const auto base = graph_->edges(number).base) ensure_stage(*base);
  evaluate_stage(number);
}

void Evaluation::evaluate_stage(std::size_t number) {
  StageState& state = stages_[number];
  const auto triggers = start_stage(number);
  if (is_replaced(number)) return;
  const SourceRange& where = file_.stages[number].from.where;
  std::vector<parser::Instruction>
      parsed;  // outlives the evaluation: checks point back at earlier instructions
  parsed.reserve(triggers.size());
  for (const auto& trigger : triggers) {
    parsed.push_back(parser::parse_trigger(trigger, where));
    InstructionEvaluator(*this, number, state, parsed.back(), true, '\\').apply();
  }
  for (const auto& instruction : file_.stages[number].commands) {
    InstructionEvaluator(*this, number, state, instruction, false, file_.escape).apply();
  }
  state.last_of_kind.clear();
}

std::vector<std::string> Evaluation::start_stage(std::size_t number) {
  StageState& state = stages_[number];
  const parser::FromInstruction& from = file_.stages[number].from_body();
  PlannedStage& planned = state.planned;
  planned.name = from.stage_name.value_or("");
  planned.display_name = from.stage_name.value_or(cat("stage-", number));
  planned.where = file_.stages[number].from.where;
  if (options_.no_cache) {
    const auto& names = *options_.no_cache;
    planned.no_cache = names.empty() || std::any_of(names.begin(), names.end(), [&](const std::string& name) {
                         return !planned.name.empty() && equal_ignoring_case(name, planned.name);
                       });
  }
  for (const auto& name : heads_[number].uses) note_global(state, name);
  const auto base = is_replaced(number) ? std::nullopt : graph_->edges(number).base;
  if (base) {
    take_base_stage(state, *base);
  } else {
    take_image(state, number);
  }
  std::vector<std::string> triggers;
  if (is_replaced(number)) return triggers;
  triggers.swap(planned.config.config.on_build);
  add_default_path(planned.config);
  const Environment image = Environment::from_entries(planned.config.config.env);
  for (const auto& [name, value] : image.variables()) {
    if (state.scope.find(name) == nullptr) state.scope.set(name, value);
  }
  return triggers;
}

/// ARG-4, CFG-1: config, variables and declared arguments go on.
void Evaluation::take_base_stage(StageState& state, std::size_t base) {
  const StageState& below = stages_[base];
  budget_.spend(inherited_bytes(below));
  state.planned.base = FromStage{base};
  state.planned.platform = below.planned.platform;
  state.planned.config = below.planned.config;
  state.planned.from_title = cat("FROM ", below.planned.display_name);
  state.scope.inherit(below.scope);
  state.workdir_set = below.workdir_set;
  state.needs.insert(base);
}

Plan Evaluation::plan() const {
  Plan plan;
  plan.images = bases_.images();
  plan.source_date_epoch = source_date_epoch_;
  std::vector<std::size_t> number_of(stages_.size());
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    if (!stages_[i].evaluated) continue;
    number_of[i] = plan.stages.size();
    plan.stages.push_back(stages_[i].planned);
  }
  plan.target = number_of[target_];
  const auto renumber = [&](Origin& origin) {
    if (auto* stage = std::get_if<FromStage>(&origin)) stage->stage = number_of[stage->stage];
  };
  for (auto& stage : plan.stages) {
    renumber(stage.base);
    for (auto& step : stage.steps) {
      if (auto* copy = std::get_if<CopyOp>(&step.op)) renumber(copy->from);
      if (auto* run = std::get_if<RunOp>(&step.op)) {
        for (auto& mount : run->mounts) renumber(mount.from);
      }
    }
  }
  return plan;
}

/// CFG-4, CFG-5.
void Evaluation::finish_target(PlannedStage& stage) const {
  for (const auto& [key, value] : options_.labels) stage.config.config.labels[key] = value;
  if (options_.platform_given) stage.config.platform = options_.target_platform;
}

Plan evaluate(const parser::Dockerfile& file, const EvaluateOptions& options, BaseResolver& bases,
              const std::function<void(const Warned&)>& warn) {
  Evaluation evaluation(file, options, bases, warn);
  evaluation.run();
  return evaluation.plan();
}

}  // namespace imgbuild::builder
