#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "builder/evaluate_instruction.h"
#include "builder/history.h"
#include "builder/titles.h"
#include "parser/device_options.h"
#include "parser/heredoc.h"
#include "parser/key_values.h"
#include "parser/paths.h"

namespace imgbuild::builder {

namespace {

using Type = parser::MountOptions::Type;

/// SBX-58: what a mount must not cover.
bool is_reserved_target(std::string_view target) {
  const auto within = [&](std::string_view directory) {
    return target == directory || (target.starts_with(directory) && target[directory.size()] == '/');
  };
  if (within("/proc") || within("/sys")) return true;
  return within("/dev") && !within("/dev/shm");
}

bool has_unusable_name(std::string_view target) {
  if (target.find('\0') != std::string_view::npos) return true;
  const auto names = split(target, '/');
  return std::any_of(names.begin(), names.end(), [](auto name) { return name.size() > 255; });
}

/// `<<EOF`, `3<<-"E F"`: a here-document and nothing else on the line.
bool is_lone_marker(std::string_view text) {
  if (!parser::parse_heredoc_marker(text)) return false;
  const std::string_view delimiter = text.substr(text.find("<<") + 2);
  return parser::split_quoted_words(delimiter, '\\').size() == 1;
}

std::string last_name(std::string_view path) {
  const std::string clean = parser::clean_path(path);
  return clean.substr(clean.rfind('/') + 1);
}

}  // namespace

void InstructionEvaluator::operator()(const parser::RunInstruction& run) {
  RunOp op;
  std::string step_title = title();
  op.argv = command_of(run, op, step_title);
  if (op.argv.empty()) throw SyntaxError("RUN needs a command: arguments are required");
  check_devices(run);
  op.devices = run.devices;
  op.scope = stage_.scope.now();
  std::uint64_t copied = config().user.size();  // with the shell, into every RUN
  for (const auto& word : op.argv) copied += word.size();
  evaluation_.budget().spend(copied);
  op.unkeyed_env = evaluation_.proxies();
  op.working_dir = config().working_dir.empty() ? "/" : config().working_dir;
  op.user = config().user;
  op.network = network_of(run);
  op.security = security_of(run);
  op.hostname = hostname();
  std::size_t ssh_count = 0;
  for (const auto& mount : run.mounts) op.mounts.push_back(plan_mount(mount, ssh_count));
  add_step(std::move(op), std::move(step_title), {});
}

/// HDC-11, HDC-12: a lone here-document is the script itself; with anything else on the line the shell reads
/// it.
std::vector<std::string> InstructionEvaluator::command_of(const parser::RunInstruction& run, RunOp& op,
                                                          std::string& step_title) {
  if (run.command.heredocs.empty() || run.command.words.size() != 1) return with_shell(run.command);
  parser::CommandLine command = run.command;
  std::string& text = command.words[0];
  if (!is_lone_marker(text)) {
    for (const auto& heredoc : command.heredocs) text += cat("\n", heredoc.data, heredoc.name);
    return with_shell(command);
  }
  const parser::Heredoc& script = command.heredocs.front();
  step_title += cat(" ", heredoc_summary(script.data));
  text = script.chomp ? script.stripped() : script.data;
  if (text.starts_with("#!") && !is_windows()) {
    if (script.name.find('/') != std::string::npos || script.name == "." || script.name == "..") {
      throw SyntaxError(
          cat("the script \"", printable(script.name), "\" needs a delimiter that can be a file name"));
    }
    op.script.emplace(script.name, text);
    text = cat("/dev/pipes/", script.name);
  }
  return with_shell(command);
}

/// RUN-20, RUN-21.
std::string InstructionEvaluator::network_of(const parser::RunInstruction& run) const {
  const EvaluateOptions& options = evaluation_.options();
  std::string network = run.network.value_or("default");
  if (network == "default")
    network = options.default_network == "sandbox" ? "default" : options.default_network;
  // A namespace by path and a private one come from the command line alone.
  const bool from_options = !run.network || *run.network == "default";
  const bool known = network == "default" || network == "none" || network == "host" ||
                     (from_options && (network == "private" || network == "ns"));
  if (!known) {
    throw Error(cat("invalid netmode ", printable(network)), ExitCode::usage);
  }
  if (network == "host" && !options.allow_network_host) {
    Error error("network.host is not allowed");
    error.add_note("remove --network=host, or allow it with --allow network.host");
    throw error;
  }
  return network;
}

/// RUN-23: nothing of the host is handed to a build that the caller did not allow.
void InstructionEvaluator::check_devices(const parser::RunInstruction& run) const {
  const auto& allowed = evaluation_.options().allowed_devices;
  for (const auto& text : run.devices) {
    const std::string name = parser::parse_device(text).name;
    const bool named = std::find(allowed.begin(), allowed.end(), name) != allowed.end();
    if (named || std::find(allowed.begin(), allowed.end(), "*") != allowed.end()) continue;
    UnsupportedError error(
        cat("device ", printable(name), " is not allowed: the device feature is off unless it is asked for"));
    error.add_note(cat("remove --device, or allow it with --allow device=", printable(name)));
    throw error;
  }
}

/// RUN-22.
std::string InstructionEvaluator::security_of(const parser::RunInstruction& run) const {
  const std::string security = run.security.value_or("sandbox");
  if (security == "insecure" && !evaluation_.options().allow_insecure) {
    Error error("security.insecure is not allowed");
    error.add_note("remove --security=insecure, or allow it with --allow security.insecure");
    throw error;
  }
  return security;
}

/// ARG-23.
std::string InstructionEvaluator::hostname() const {
  if (!evaluation_.options().hostname.empty()) return evaluation_.options().hostname;
  const auto given = evaluation_.build_args().find("BUILDKIT_SANDBOX_HOSTNAME");
  return given != evaluation_.build_args().end() && !given->second.empty() ? given->second
                                                                           : "buildkitsandbox";
}

PlannedMount InstructionEvaluator::plan_mount(const std::string& text, std::size_t& ssh_count) {
  PlannedMount mount;
  mount.options = parser::parse_mount(text, [this](std::string_view value) { return expand(value); });
  parser::MountOptions& options = mount.options;
  if (options.target.find('\0') != std::string::npos) throw SyntaxError("a mount target holds a NUL byte");
  // Without a target, what is a file system of its own covers the working directory (MNT-20).
  const bool needs_none = options.type == Type::secret || options.type == Type::ssh;
  if (!options.target.empty() || !needs_none) mount.target = join_workdir(options.target);
  const std::string from = options.from.value_or("");
  switch (options.type) {
    case Type::bind:
      mount.from =
          from.empty() ? Origin(FromContext{}) : evaluation_.mount_source(from, options.target, number_);
      break;
    case Type::cache:
      mount.from =
          from.empty() ? Origin(FromScratch{}) : evaluation_.mount_source(from, options.target, number_);
      plan_cache(mount);
      break;
    case Type::tmpfs:
      mount.from = FromScratch{};
      break;  // `from` is ignored (MNT-36)
    case Type::secret:
      plan_secret(mount);
      break;
    case Type::ssh:
      plan_ssh(mount, ssh_count);
      break;
  }
  check_mount_target(mount);
  return mount;
}

/// MNT-20, SBX-58.
void InstructionEvaluator::check_mount_target(const PlannedMount& mount) const {
  const bool no_file = mount.options.type == Type::secret && mount.options.env && mount.target.empty();
  if (no_file) return;
  const std::string& target = mount.target;
  if (target == "/") {
    SyntaxError error("invalid mount target \"/\"");
    error.add_note(mount.options.target.empty()
                       ? "the mount needs target=DIRECTORY, or a WORKDIR before it, which it then covers"
                       : "a mount cannot cover the whole root");
    throw error;
  }
  const bool is_directory = mount.options.type != Type::secret && mount.options.type != Type::ssh;
  if (is_reserved_target(target) || (target == "/dev/shm" && !is_directory)) {
    SyntaxError error(cat("invalid mount target \"", printable(target),
                          "\": it lies in a directory of the sandbox itself"));
    error.add_note("/proc, /sys and /dev cannot be mounted over, except for /dev/shm");
    throw error;
  }
  if (has_unusable_name(target))
    throw SyntaxError(cat("invalid mount target \"", printable(target), "\": a name is too long"));
}

void InstructionEvaluator::plan_cache(PlannedMount& mount) {
  std::string& id = mount.options.id;
  if (id.empty()) id = parser::clean_path(mount.options.target);  // MNT-30
  const auto space = evaluation_.build_args().find("BUILDKIT_CACHE_MOUNT_NS");
  if (space != evaluation_.build_args().end() && !space->second.empty()) id = cat(space->second, "/", id);
}

/// MNT-40, MNT-44: the id may come from the target and the target from the id.
void InstructionEvaluator::plan_secret(PlannedMount& mount) {
  parser::MountOptions& options = mount.options;
  mount.from = FromScratch{};
  if (options.id.empty()) options.id = options.source;
  if (options.id.empty()) options.id = last_name(options.target);
  if (mount.target.empty() && !options.env) mount.target = cat("/run/secrets/", last_name(options.id));
  stage_.outline_secrets.push_back({options.id, options.required, instruction_.where});
}

/// MNT-50.
void InstructionEvaluator::plan_ssh(PlannedMount& mount, std::size_t& count) {
  mount.from = FromScratch{};
  if (mount.target.empty()) mount.target = cat("/run/buildkit/ssh_agent.", count);
  ++count;
  const std::string& id = mount.options.id;
  stage_.outline_ssh.push_back({id.empty() ? "default" : id, mount.options.required, instruction_.where});
}

}  // namespace imgbuild::builder
