#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "base/error.h"
#include "base/strings.h"
#include "builder/explain_miss.h"
#include "cli/build_log.h"
#include "cli/commands/commands.h"
#include "cli/store_session.h"

namespace imgbuild::cli {

namespace {

/// STEP is a number as the progress prints it (`#3`), or a part of the step's label.
bool is_meant(const LoggedMiss& miss, const std::string& step) {
  if (step.empty()) return true;
  const std::string_view number = std::string_view(step).substr(step.starts_with('#') ? 1 : 0);
  if (const auto wanted = parse_decimal(number)) return *wanted == miss.missed.step + 1;
  return miss.label.find(step) != std::string::npos;
}

builder::Explained explain(const LoggedMiss& miss, builder::Host& host) {
  if (!miss.done && miss.missed.note.empty())
    return {miss.missed.step, "not done", {}, {}, {}, "it did not finish, so its inputs are not known", {}};
  const auto record = host.cache.find_record(miss.missed.key);
  std::function<std::vector<oci::PendingEntry>()> entries;
  if (record) {
    entries = [&] {
      std::vector<oci::PendingEntry> made;
      for (const auto& entry : host.indexes.get(record->layer)->entries) made.push_back({entry, {}});
      return made;
    };
  }
  const std::vector<cache::KeyField> nothing;
  return builder::explain_miss({.missed = miss.missed,
                                .inputs = record ? record->inputs : nothing,
                                .entries = entries,
                                .modes_as_found = !miss.git_modes},
                               host.cache, host.indexes);
}

int why(const CommandContext& context, const std::string& step, const std::string& format) {
  if (format != "text" && format != "json")
    throw Error(cat("--format is text or json, not \"", printable(format), "\""), ExitCode::usage);
  StoreSession session(
      {.path = store_path(context.root, context.environment, ::geteuid() == 0), .with_sandbox = false},
      context.environment);
  const auto misses = read_build_log(session.root_fd());
  if (!misses) throw Error("no build of this store has run a step yet");
  bool found = false;
  for (const auto& miss : *misses) {
    if (!is_meant(miss, step)) continue;
    found = true;
    const auto explained = explain(miss, session.host());
    if (format == "json")
      std::cout << explanation_json(explained, miss.label, miss.file, miss.line);
    else
      std::cout << printable(cat("#", miss.missed.step + 1, " ", miss.label, " (", miss.file, ":", miss.line,
                                 "): ", explained.text))
                << "\n";
  }
  if (found) return 0;
  throw Error(cat("the last build that ran a step did not run one like \"", printable(step), "\""))
      .with_note("`imgbuild why` without a step lists all that it ran");
}

}  // namespace

std::string add_why_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen) {
  auto* command = app.add_subcommand("why", "Say why steps of the last build were not taken from the cache.");
  auto step = std::make_shared<std::string>();
  auto format = std::make_shared<std::string>("text");
  command->add_option("STEP", *step,
                      "Number of the step as the build printed it, or a part of its text (default: all)");
  command->add_option("--format", *format, "text or json, a line each")->capture_default_str();
  command->add_option("--root", context.root, "Directory of the store");
  command->callback(
      [=, &context, &chosen] { chosen = [=, &context] { return why(context, *step, *format); }; });
  return "why";
}

}  // namespace imgbuild::cli
