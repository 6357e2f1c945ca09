#pragma once

#include <string>
#include <vector>

#include "builder/evaluation.h"

namespace imgbuild::builder {

/// Applies one instruction to its stage: to the config, the scope, the history, the steps. A visitor over
/// parser::InstructionBody; each group of instructions has a file evaluate_*.cc.
class InstructionEvaluator {
 public:
  InstructionEvaluator(Evaluation& evaluation, std::size_t number, StageState& stage,
                       const parser::Instruction& instruction, bool from_trigger, char escape);

  /// Throws SyntaxError located at the instruction.
  void apply();

  void operator()(const parser::FromInstruction&) {}
  void operator()(const parser::RunInstruction& run);
  void operator()(const parser::CopyInstruction& copy);
  void operator()(const parser::EnvInstruction& env);
  void operator()(const parser::LabelInstruction& label);
  void operator()(const parser::ArgInstruction& arg);
  void operator()(const parser::WorkdirInstruction& workdir);
  void operator()(const parser::UserInstruction& user);
  void operator()(const parser::CmdInstruction& cmd);
  void operator()(const parser::EntrypointInstruction& entrypoint);
  void operator()(const parser::ShellInstruction& shell);
  void operator()(const parser::ExposeInstruction& expose);
  void operator()(const parser::VolumeInstruction& volume);
  void operator()(const parser::StopSignalInstruction& signal);
  void operator()(const parser::MaintainerInstruction& maintainer);
  void operator()(const parser::OnBuildInstruction& onbuild);
  void operator()(const parser::HealthcheckInstruction& health);

 private:
  using Pairs = std::vector<std::pair<std::string, std::string>>;

  oci::RuntimeConfig& config() { return stage_.planned.config.config; }
  bool is_windows() const { return stage_.planned.config.platform.os == "windows"; }

  /// Expands with the scope before this instruction; reports variables that are not defined.
  std::string expand(std::string_view word);
  Pairs expand_pairs(const std::vector<parser::KeyValue>& pairs);
  void report_undefined(const std::set<std::string>& unset);
  void spend(std::uint64_t bytes);

  void add_empty_history(std::string created_by);
  void add_step(decltype(PlanStep::op) op, std::string title, std::string created_by);
  std::string title();
  std::string join_workdir(std::string_view path) const;

  /// Shell in front of a shell form (CMD-1, CMD-5).
  std::vector<std::string> with_shell(const parser::CommandLine& command) const;
  void check_repeated(const std::string& keyword);
  void check_shell_form(const std::string& keyword, const parser::CommandLine& command);

  void define_arg(const parser::ArgDefinition& definition, std::vector<std::string>& texts);
  void note_arg(const parser::ArgDefinition& definition, const std::optional<std::string>& value,
                bool inherited);

  // RUN
  std::vector<std::string> command_of(const parser::RunInstruction& run, RunOp& op, std::string& title);
  PlannedMount plan_mount(const std::string& text, std::size_t& ssh_count);
  void check_mount_target(const PlannedMount& mount) const;
  void plan_secret(PlannedMount& mount);
  void plan_ssh(PlannedMount& mount, std::size_t& count);
  void plan_cache(PlannedMount& mount);
  std::string network_of(const parser::RunInstruction& run) const;
  void check_devices(const parser::RunInstruction& run) const;
  std::string security_of(const parser::RunInstruction& run) const;
  std::string hostname() const;

  // COPY and ADD
  Origin origin_of(const parser::CopyInstruction& copy);
  void check_sources(const CopyOp& op) const;
  void check_remote_source(const CopyOp& op, const std::string& source) const;
  void check_ignored(const CopyOp& op);
  std::string destination_of(const std::string& expanded) const;

  Evaluation& evaluation_;
  std::size_t number_;
  StageState& stage_;
  const parser::Instruction& instruction_;
  bool from_trigger_;
  char escape_;
  std::uint64_t spent_ = 0;
};

}  // namespace imgbuild::builder
