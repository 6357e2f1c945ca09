#include <charconv>

#include "base/strings.h"
#include "parser/code_points.h"
#include "parser/device_options.h"
#include "parser/duration.h"
#include "parser/flags.h"
#include "parser/grammar.h"
#include "parser/json_form.h"
#include "parser/mount_options.h"
#include "parser/word_error.h"

namespace imgbuild::parser {

namespace {

CommandLine command_line(const Statement& statement) {
  CommandLine command;
  command.shell_form = !statement.json;
  command.words = statement.json ? *statement.json : std::vector<std::string>{statement.rest};
  return command;
}

void check_choice(const std::optional<std::string>& value, const std::vector<std::string>& choices,
                  std::string_view message_start, std::string_view message_end) {
  if (!value) return;
  for (const auto& choice : choices) {
    if (*value == choice) return;
  }
  WordError error(cat(message_start, "\"", printable(*value), "\"", message_end), *value);
  error.add_note(cat("known values are ", join(choices, ", ")));
  throw error;
}

/// One of the time flags of HEALTHCHECK, in nanoseconds; 0 means the default (MET-8).
std::int64_t interval(const Flags& flags, std::string_view name) {
  constexpr std::int64_t kShortest = 1'000'000;
  const std::string text = flags.text(name).value_or("");
  if (text.empty()) return 0;
  const std::string written = cat("--", name, "=", text);
  try {
    const std::int64_t value = parse_go_duration(text);
    if (value == 0 || value >= kShortest) return value;
  } catch (const SyntaxError& error) {
    WordError located(error.message(), written);
    located.add_note(cat("--", name, " wants a time with its unit, such as 30s, 1m30s or 500ms"));
    throw located;
  }
  throw WordError(cat("Interval \"", name, "\" cannot be less than 1ms"), written);
}

int retries(const Flags& flags) {
  const std::string text = flags.text("retries").value_or("");
  if (text.empty()) return 0;
  const std::string_view digits = text.starts_with('+') ? std::string_view(text).substr(1) : text;
  int value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    throw WordError(
        cat("invalid value for --retries: \"", printable(text), "\" is an invalid syntax for a number"),
        cat("--retries=", text));
  }
  if (value < 0) throw WordError(cat("--retries cannot be negative (", value, ")"), cat("--retries=", text));
  return value;
}

/// The command behind HEALTHCHECK CMD as the image config stores it.
std::vector<std::string> health_test(std::string_view command) {
  const auto json = read_json_form(command);
  if (json ? json->empty() : command.empty()) throw SyntaxError("Missing command after HEALTHCHECK CMD");
  if (!json) return {"CMD-SHELL", std::string(command)};
  std::vector<std::string> test = {"CMD"};
  test.insert(test.end(), json->begin(), json->end());
  return test;
}

}  // namespace

RunInstruction parse_run(GrammarInput& in) {
  const Flags flags(
      in.statement.flags,
      {{"mount", FlagKind::repeated}, {"network"}, {"security"}, {"device", FlagKind::repeated}});
  RunInstruction run;
  run.command = command_line(in.statement);
  run.command.heredocs = std::move(in.heredocs);
  run.mounts = flags.all("mount");
  run.network = flags.text("network");
  run.security = flags.text("security");
  run.devices = flags.all("device");
  check_choice(run.network, {"default", "none", "host"}, "invalid network mode ", "");
  check_choice(run.security, {"sandbox", "insecure"}, "security ", " is not valid");
  for (const auto& mount : run.mounts) check_mount_syntax(mount);
  for (const auto& device : run.devices) parse_device(device);
  return run;
}

CmdInstruction parse_cmd(const GrammarInput& in) {
  refuse_flags(in.statement);
  return {command_line(in.statement)};
}

EntrypointInstruction parse_entrypoint(const GrammarInput& in) {
  refuse_flags(in.statement);
  return {command_line(in.statement)};
}

ShellInstruction parse_shell(const GrammarInput& in) {
  refuse_flags(in.statement);
  const auto& json = in.statement.json;
  if (in.statement.rest.empty() || (json && json->empty()))
    throw SyntaxError("SHELL requires at least one argument");
  if (!json) {
    SyntaxError error("SHELL requires the arguments to be in JSON form");
    error.add_note("for example SHELL [\"/bin/bash\", \"-c\"]");
    throw error;
  }
  return {*json};
}

HealthcheckInstruction parse_healthcheck(const GrammarInput& in) {
  const std::string_view rest = in.statement.rest;
  std::size_t end = 0;
  while (end < rest.size() && !is_space(decode_code_point(rest.substr(end)).value)) ++end;
  const std::string type = to_upper(rest.substr(0, end));
  const std::string_view command = trim_left_blanks(rest.substr(end));

  HealthcheckInstruction health;
  if (type.empty()) throw SyntaxError("HEALTHCHECK requires at least one argument");
  if (type == "NONE") {  // flags are not looked at (PAR-46)
    if (!command.empty()) throw SyntaxError("HEALTHCHECK NONE takes no arguments");
    health.test = {"NONE"};
    return health;
  }
  const Flags flags(in.statement.flags,
                    {{"interval"}, {"timeout"}, {"start-period"}, {"start-interval"}, {"retries"}});
  if (type != "CMD") {
    throw WordError(cat("Unknown type \"", printable(type), "\" in HEALTHCHECK (try CMD)"),
                    std::string(rest.substr(0, end)));
  }
  health.test = health_test(command);
  health.interval_ns = interval(flags, "interval");
  health.timeout_ns = interval(flags, "timeout");
  health.start_period_ns = interval(flags, "start-period");
  health.start_interval_ns = interval(flags, "start-interval");
  health.retries = retries(flags);
  return health;
}

}  // namespace imgbuild::parser
