#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "builder/evaluate_instruction.h"
#include "builder/history.h"
#include "builder/ports.h"
#include "builder/signals.h"
#include "parser/paths.h"
#include "parser/word_error.h"

namespace imgbuild::builder {

namespace {

constexpr std::uint64_t kMaxLabelBytes = 1u << 20;  // LIM
constexpr std::uint64_t kPortBytes = 64;            // about the memory of one
constexpr std::size_t kMaxPathBytes = 4096;         // LIM

/// Replaces the entry of `key` in place, or adds one (CFG-3).
void set_entry(StageState& stage, const std::string& key, const std::string& value) {
  std::vector<std::string>& entries = stage.planned.config.config.env;
  auto& places = stage.env_places;
  if (places.empty()) {
    for (std::size_t i = 0; i < entries.size(); ++i)
      places.emplace(entries[i].substr(0, entries[i].find('=')), i);
  }
  const auto [place, fresh] = places.emplace(key, entries.size());
  if (fresh) entries.emplace_back();
  entries[place->second] = cat(key, "=", value);
}

std::vector<std::string> exposed_ports(std::string_view port, const std::string& written) {
  try {
    return parse_exposed_ports(port);
  } catch (const SyntaxError& error) {
    throw parser::WordError(error, written);
  }
}

}  // namespace

void InstructionEvaluator::operator()(const parser::EnvInstruction& env) {
  const Pairs pairs = expand_pairs(env.pairs);  // all values see the old state (VAR-9)
  for (const auto& [key, value] : pairs) {
    if (names_a_secret(key)) {
      evaluation_.linter().report(
          "SecretsUsedInArgOrEnv",
          cat("Do not use ARG or ENV instructions for sensitive data (ENV \"", key, "\")"), instruction_);
    }
    stage_.scope.set(key, value);
    set_entry(stage_, key, value);
  }
  add_empty_history(history_of_pairs("ENV", pairs));
}

void InstructionEvaluator::operator()(const parser::LabelInstruction& label) {
  const Pairs pairs = expand_pairs(label.pairs);
  for (const auto& [key, value] : pairs) {
    stage_.label_bytes += key.size() + value.size();
    if (stage_.label_bytes > kMaxLabelBytes)
      throw SyntaxError("the labels of the stage are larger than 1 MiB");
    config().labels[key] = value;
  }
  add_empty_history(history_of_pairs("LABEL", pairs));
}

void InstructionEvaluator::operator()(const parser::UserInstruction& user) {
  config().user = expand(user.user);
  add_empty_history(cat("USER ", config().user));
}

void InstructionEvaluator::operator()(const parser::CmdInstruction& cmd) {
  check_repeated("CMD");
  check_shell_form("CMD", cmd.command);
  const auto words = with_shell(cmd.command);
  config().cmd = words.empty() ? std::nullopt : std::optional(words);
  config().args_escaped = true;
  stage_.cmd_set = true;
  add_empty_history(history_of_command("CMD", words));
}

void InstructionEvaluator::operator()(const parser::EntrypointInstruction& entrypoint) {
  check_repeated("ENTRYPOINT");
  check_shell_form("ENTRYPOINT", entrypoint.command);
  const auto words = with_shell(entrypoint.command);
  config().entrypoint = words.empty() ? std::nullopt : std::optional(words);
  if (!stage_.cmd_set) config().cmd.reset();  // an inherited CMD was meant for another program (CMD-3)
  add_empty_history(history_of_command("ENTRYPOINT", words));
}

void InstructionEvaluator::operator()(const parser::ShellInstruction& shell) {
  config().shell = shell.words;
  add_empty_history(history_of_list("SHELL", shell.words));
}

void InstructionEvaluator::operator()(const parser::ExposeInstruction& expose) {
  std::vector<std::string> all;
  for (const auto& argument : expose.ports) {
    const auto expansion = parser::expand_words(argument, stage_.scope.lookup(), escape_);
    spend(expansion.cost);
    for (const auto& port : expansion.words) {
      if (has_host_part(port)) {
        evaluation_.linter().report(
            "ExposeInvalidFormat",
            cat("EXPOSE instruction should not define an IP address or host-port mapping, found '", port,
                "'"),
            instruction_);
      }
      const auto ports = exposed_ports(port, argument);
      if (to_lower(protocol_of(port)) != protocol_of(port)) {
        evaluation_.linter().report(
            "ExposeProtoCasing",
            cat("Defined protocol '", port, "' in EXPOSE instruction should be lowercase"), instruction_);
      }
      spend(ports.size() * kPortBytes);
      all.insert(all.end(), ports.begin(), ports.end());
    }
  }
  config().exposed_ports.insert(all.begin(), all.end());
  add_empty_history(history_of_list("EXPOSE", all));
}

void InstructionEvaluator::operator()(const parser::VolumeInstruction& volume) {
  std::vector<std::string> paths;
  for (const auto& path : volume.paths) {
    paths.push_back(expand(path));
    if (paths.back().empty()) throw SyntaxError("VOLUME specified can not be an empty string");
  }
  config().volumes.insert(paths.begin(), paths.end());
  add_empty_history(history_of_list("VOLUME", paths));
}

void InstructionEvaluator::operator()(const parser::StopSignalInstruction& signal) {
  const std::string text = expand(signal.signal);
  if (!is_signal(text)) {
    parser::WordError error(cat("invalid signal: ", printable(text)), signal.signal);
    error.add_note("write a Linux signal name such as SIGTERM, or a number from 1");
    throw error;
  }
  config().stop_signal = text;
  add_empty_history(cat("STOPSIGNAL ", text));
}

void InstructionEvaluator::operator()(const parser::MaintainerInstruction& maintainer) {
  stage_.planned.config.author = maintainer.name;
  add_empty_history(cat("MAINTAINER ", maintainer.name));
}

void InstructionEvaluator::operator()(const parser::OnBuildInstruction& onbuild) {
  config().on_build.push_back(onbuild.expression);  // no history entry (CFG-20)
}

void InstructionEvaluator::operator()(const parser::HealthcheckInstruction& health) {
  check_repeated("HEALTHCHECK");
  config().healthcheck = oci::Healthcheck{
      health.test,   health.interval_ns, health.timeout_ns, health.start_period_ns, health.start_interval_ns,
      health.retries};
  add_empty_history(history_of_healthcheck(*config().healthcheck));
}

/// MET-20…23: absolute paths are kept as written, relative ones joined; the directory is a layer unless it is
/// `/`.
void InstructionEvaluator::operator()(const parser::WorkdirInstruction& workdir) {
  const std::string path = expand(workdir.path);
  const bool absolute = path.starts_with('/') || (is_windows() && path.size() > 1 && path[1] == ':');
  if (!absolute && !stage_.workdir_set) {
    evaluation_.linter().report(
        "WorkdirRelativePath",
        cat("Relative workdir \"", path, "\" can have unexpected results if the base image changes"),
        instruction_);
  }
  stage_.workdir_set = true;
  const std::string step_title = title();
  if (absolute) {
    config().working_dir = path;
  } else if (!path.empty() || config().working_dir.empty()) {
    config().working_dir = join_workdir(path);
  }
  if (config().working_dir.size() > kMaxPathBytes) {
    throw parser::WordError(cat("the working directory is longer than ", kMaxPathBytes, " bytes"),
                            workdir.path);
  }
  const std::string clean = parser::clean_path(config().working_dir);
  const std::string created_by = cat("WORKDIR ", config().working_dir);
  if (clean == "/") return add_empty_history(created_by);
  add_step(WorkdirOp{clean, config().user}, step_title, created_by);
}

}  // namespace imgbuild::builder
