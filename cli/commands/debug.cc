#include <fcntl.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "base/error.h"
#include "base/unique_fd.h"
#include "cli/checks.h"
#include "cli/commands/commands.h"
#include "parser/dump.h"
#include "parser/parser.h"

namespace imgbuild::cli {

namespace {

int dump_dockerfile(const std::string& path) {
  const UniqueFd file = open_path(path, O_RDONLY | O_NONBLOCK);
  const auto source =
      std::make_shared<SourceText>(path, read_file(file.get(), std::uint64_t{16} << 20, path));
  std::cout << parser::dump(parser::parse_dockerfile(source));
  return 0;
}

}  // namespace

std::string add_debug_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen) {
  auto* command = app.add_subcommand("debug", "Look inside; for developers of imgbuild.");
  command->require_subcommand(1);
  auto* dockerfile = command->add_subcommand("dockerfile", "Print the parsed tree of a Dockerfile.");
  auto path = std::make_shared<std::string>("Dockerfile");
  dockerfile->add_option("FILE", *path, "Dockerfile")->capture_default_str();
  dockerfile->callback([=, &chosen] { chosen = [=] { return dump_dockerfile(*path); }; });

  auto* plan = command->add_subcommand("plan", "Print the steps a build would consist of.");
  auto options = std::make_shared<BuildOptions>();
  plan->add_option("CONTEXT", options->context, "Build context")->capture_default_str();
  plan->add_option("-f,--file", options->dockerfile, "Dockerfile");
  plan->add_option("--target", options->target, "Stage");
  plan->add_option("--build-arg", options->build_args, "NAME=VALUE")->allow_extra_args(false);
  plan->add_option("--root", context.root, "Directory of the store");
  plan->callback(
      [=, &context, &chosen] { chosen = [=, &context] { return print_plan(*options, context); }; });
  return "debug";
}

}  // namespace imgbuild::cli
