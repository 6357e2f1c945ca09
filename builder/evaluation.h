#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "builder/environment.h"
#include "builder/evaluate.h"
#include "builder/expansion_budget.h"
#include "builder/from_lines.h"
#include "builder/lint.h"
#include "builder/outline.h"
#include "builder/plan.h"
#include "builder/stage_scope.h"
#include "parser/stage_graph.h"

namespace imgbuild::builder {

/// One stage while it is evaluated. Origins of its steps count stages of the file; `Evaluation::plan`
/// renumbers them.
struct StageState {
  PlannedStage planned;
  StageScope scope;
  std::map<std::string, std::size_t, std::less<>> env_places;  ///< in the config's env, once it is changed
  std::uint64_t label_bytes = 0;                               ///< of the labels set in this stage
  bool evaluated = false;
  bool cmd_set = false;      ///< by this stage itself (CMD-3)
  bool workdir_set = false;  ///< by this stage or a base stage of the file
  std::map<std::string, const parser::Instruction*>
      last_of_kind;  ///< CMD, ENTRYPOINT, HEALTHCHECK seen so far
  std::map<std::string, OutlineArg> outline_args;
  std::vector<OutlineSecret> outline_secrets;
  std::vector<OutlineSecret> outline_ssh;
  std::set<std::size_t> needs;  ///< stages it is FROM, copies or mounts from
};

/// The evaluation of one Dockerfile: walks the stages, hands each instruction to an InstructionEvaluator.
/// Used once, on one thread.
class Evaluation {
 public:
  Evaluation(const parser::Dockerfile& file, const EvaluateOptions& options, BaseResolver& bases,
             const std::function<void(const Warned&)>& warn);
  Evaluation(const Evaluation&) = delete;
  Evaluation& operator=(const Evaluation&) = delete;

  /// Throws SyntaxError, located where it can be.
  void run();
  /// After run(). Reachable stages in file order.
  Plan plan() const;
  /// After run(). What the target and everything it needs asks for (SUB-1).
  Outline outline() const;

  // What instructions need to know.

  const parser::Dockerfile& file() const noexcept { return file_; }
  const EvaluateOptions& options() const noexcept { return options_; }
  Linter& linter() noexcept { return linter_; }
  ExpansionBudget& budget() noexcept { return budget_; }
  const BuildArgs& build_args() const noexcept { return build_args_; }
  const GlobalScope& globals() const noexcept { return *globals_; }
  const std::vector<std::string>& proxies() const noexcept { return proxies_; }
  /// Notes that `stage` uses the global `name` and the globals its default needs (SUB-1).
  void note_global(StageState& stage, const std::string& name) const;
  /// A named context of this name; nothing when none was given (CTX-10, CTX-11).
  std::optional<ResolvedBase> named_context(const std::string& name);
  /// Where COPY --from or a mount's from, `name`, leads; evaluates a stage it names. Throws (COPY-2, MNT-25).
  Origin copy_source(const std::string& name, std::size_t user);
  Origin mount_source(const std::string& name, const std::string& target, std::size_t user);
  /// The stage or named context `name`, never an image; nothing if there is neither.
  std::optional<Origin> find_local_source(const std::string& name, std::size_t user);

 private:
  void prepare_graph(const std::vector<StageHead>& heads);
  bool is_replaced(std::size_t stage);
  bool is_context_name(const std::string& name) const;
  void evaluate_stage(std::size_t stage);
  void ensure_stage(std::size_t stage);
  /// Sets base, config, scope; returns the triggers to run first (ONB-3).
  std::vector<std::string> start_stage(std::size_t stage);
  ResolvedBase resolve_base(std::size_t stage, const oci::Platform& platform);
  ResolvedBase resolve_image(const std::string& name, const oci::Platform& platform, std::size_t user);
  void take_base_stage(StageState& state, std::size_t base);
  void take_image(StageState& state, std::size_t stage);
  void check_base_platform(std::size_t stage, const oci::Platform& wanted, const oci::Platform& got);
  Origin other_source(const std::string& name, std::size_t user);
  Origin stage_origin(std::size_t stage, std::size_t user);
  void resolve_source_date();
  std::optional<std::int64_t> epoch_named(const std::string& text);
  void finish_target(PlannedStage& stage) const;
  void collect_outline(std::size_t number, std::set<std::size_t>& seen,
                       std::map<std::string, OutlineArg>& args, Outline& outline) const;

  const parser::Dockerfile& file_;
  const EvaluateOptions& options_;
  BaseResolver& bases_;
  ExpansionBudget budget_;
  BuildArgs build_args_;
  Linter linter_;
  std::optional<GlobalScope> globals_;
  std::vector<StageHead> heads_;
  std::optional<parser::StageGraph> graph_;
  std::vector<StageState> stages_;
  std::vector<std::string> proxies_;
  std::size_t target_ = 0;
  std::optional<std::int64_t> source_date_epoch_;
};

}  // namespace imgbuild::builder
