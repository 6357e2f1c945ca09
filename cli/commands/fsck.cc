#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "base/error.h"
#include "base/strings.h"
#include "builder/store/check.h"
#include "cli/commands/commands.h"
#include "cli/signals.h"
#include "cli/store_session.h"
#include "cli/tier.h"
#include "oci/json_writer.h"

namespace imgbuild::cli {

namespace {

struct FsckOptions {
  bool repair = false, deep = false;
  std::string format = "text";
};

void print_text(const builder::CheckReport& report, bool deep) {
  for (const auto& problem : report.problems) {
    std::cout << printable(
                     cat(problem.repaired ? "repaired: " : "damaged: ", problem.path, ": ", problem.what))
              << "\n";
  }
  std::cout << report.blobs << " blobs (" << human_size(report.bytes) << "), " << report.names << " names, "
            << report.records << " records, " << report.indexes << " layer indexes, " << report.extracted
            << " extracted layers";
  if (deep) std::cout << " (" << report.files << " files)";
  std::cout << " checked: " << report.problems.size() << " problems\n";
}

void print_json(const builder::CheckReport& report) {
  oci::JsonWriter json(true);
  json.begin_object();
  for (const auto& [name, count] :
       {std::pair("blobs", report.blobs), std::pair("bytes", report.bytes), std::pair("names", report.names),
        std::pair("records", report.records), std::pair("layerIndexes", report.indexes),
        std::pair("extracted", report.extracted), std::pair("files", report.files)}) {
    json.key(name).number(static_cast<std::int64_t>(count));
  }
  json.key("problems").begin_array();
  for (const auto& problem : report.problems) {
    json.begin_object();
    json.key("path").string(printable(problem.path)).key("what").string(printable(problem.what));
    json.key("repaired").boolean(problem.repaired).end_object();
  }
  json.end_array().end_object();
  std::cout << json.take() << "\n";
}

int fsck(const CommandContext& context, const FsckOptions& options) {
  if (options.format != "text" && options.format != "json")
    throw Error(cat("--format is text or json, not \"", printable(options.format), "\""), ExitCode::usage);
  const TierChoice tier = enter_best_tier();  // files of RUN belong to ids that exist only there
  SignalWatcher signals;
  auto store = builder::open_store_root(store_path(context.root, context.environment, tier.real_uid == 0),
                                        signals.token());
  const auto report =
      builder::check_store(store, {.repair = options.repair, .deep = options.deep}, signals.token());
  if (options.format == "json")
    print_json(report);
  else
    print_text(report, options.deep);
  const bool sound = std::all_of(report.problems.begin(), report.problems.end(),
                                 [](const auto& problem) { return problem.repaired; });
  return static_cast<int>(sound ? ExitCode::ok : ExitCode::integrity);
}

}  // namespace

std::string add_fsck_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen) {
  auto* command = app.add_subcommand("fsck", "Check everything in the store.");
  auto options = std::make_shared<FsckOptions>();
  command->add_flag("--repair", options->repair,
                    "Set aside or remove what is wrong; the next build makes it anew");
  command->add_flag("--deep", options->deep, "Also compare every extracted file with its layer");
  command->add_option("--format", options->format, "text or json")->capture_default_str();
  command->add_option("--root", context.root, "Directory of the store");
  command->callback([=, &context, &chosen] { chosen = [=, &context] { return fsck(context, *options); }; });
  return "fsck";
}

}  // namespace imgbuild::cli
