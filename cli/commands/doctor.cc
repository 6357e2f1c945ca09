#include <fcntl.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "base/error.h"
#include "base/strings.h"
#include "builder/launcher_image.h"
#include "cli/commands/commands.h"
#include "cli/render_doctor.h"
#include "cli/store_session.h"
#include "cli/tier.h"

namespace imgbuild::cli {

namespace {

struct DoctorOptions {
  RunOptions run;
  std::string format = "text";
};

/// Runs a program that ends at once, in an empty image: our own launcher, which does nothing for strangers.
std::chrono::nanoseconds launch_once(const builder::RunSupport& support) {
  const auto snapshot = support.snapshots->prepare({});
  builder::SandboxSpec spec;
  spec.rootfs = snapshot->rootfs();
  {
    const UniqueFd program = open_at(spec.rootfs.upper_dir, "nothing", O_WRONLY | O_CREAT | O_EXCL, 0755);
    write_all(program.get(), builder::launcher_image(), "program");
  }
  spec.argv = {"/nothing"};
  const auto begin = std::chrono::steady_clock::now();
  support.sandbox->run(spec, [](int, std::string_view) {}, {});
  return std::chrono::steady_clock::now() - begin;
}

/// The best of a few: the first one also starts the launcher.
std::chrono::nanoseconds measure_launch(const builder::RunSupport& support) {
  auto best = launch_once(support);
  for (int i = 0; i < 4; ++i) best = std::min(best, launch_once(support));
  return best;
}

int run_doctor(const CommandContext& context, const DoctorOptions& options) {
  if (options.format != "text" && options.format != "json")
    throw Error(cat("--format is text or json, not \"", printable(options.format), "\""), ExitCode::usage);
  static_cast<void>(parse_snapshotter(options.run.snapshotter));
  DoctorReport report{.facts = builder::read_machine_facts()};
  const TierChoice tier = enter_best_tier(parse_isolation(options.run.isolation),
                                          options.run.no_process_sandbox);  // before any thread exists
  report.facts.store_path = store_path(context.root, context.environment, tier.real_uid == 0);
  StoreSession session({.path = report.facts.store_path, .tier = tier, .run = options.run},
                       context.environment);
  report.facts.store_file_system = builder::file_system_name(session.root_fd());
  const builder::RunSupport& support = session.host().run();
  report.support = support;
  const auto fuse = builder::find_fuse_program(tier.report.tier != builder::Tier::root);
  report.fuse = fuse.problem;
  if (fuse.usable()) {
    const std::string defect = builder::fuse_defect(builder::fuse_version(fuse));
    if (!defect.empty()) report.fuse = cat(defect, builder::kOnlyWhenAsked);
  }
  if (support.sandbox != nullptr) report.launch = measure_launch(support);
  std::cout << (options.format == "json" ? render_doctor_json(report) : render_doctor(report)) << std::flush;
  return 0;
}

}  // namespace

std::string add_doctor_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen) {
  auto* command =
      app.add_subcommand("doctor", "Show how well this machine can isolate RUN, and what would help.");
  auto options = std::make_shared<DoctorOptions>();
  command->add_option("--root", context.root, "Directory of the store");
  command->add_option("--isolation", options->run.isolation, "As for build: auto, full or chroot")
      ->capture_default_str();
  command
      ->add_option("--snapshotter", options->run.snapshotter,
                   "As for build: auto, overlay, fuse-overlayfs or copy")
      ->capture_default_str();
  command->add_flag("--no-process-sandbox", options->run.no_process_sandbox, "As for build");
  command->add_option("--format", options->format, "text or json")->capture_default_str();
  command->callback(
      [=, &context, &chosen] { chosen = [=, &context] { return run_doctor(context, *options); }; });
  return "doctor";
}

}  // namespace imgbuild::cli
