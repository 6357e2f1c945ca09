#include <fcntl.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "base/error.h"
#include "base/unique_fd.h"
#include "cli/commands/commands.h"
#include "parser/dump.h"
#include "parser/parser.h"

namespace imgbuild::cli {

namespace {

int dump_dockerfile(const std::string& path) {
  const UniqueFd file = open_path(path, O_RDONLY | O_NONBLOCK);
  const auto source = std::make_shared<SourceText>(path, read_file(file.get(), std::uint64_t{16} << 20, path));
  std::cout << parser::dump(parser::parse_dockerfile(source));
  return 0;
}

}  // namespace

std::string add_debug_command(CLI::App& app, CommandContext&, std::function<int()>& chosen) {
  auto* command = app.add_subcommand("debug", "Look inside; for developers of imgbuild.");
  command->require_subcommand(1);
  auto* dockerfile = command->add_subcommand("dockerfile", "Print the parsed tree of a Dockerfile.");
  auto path = std::make_shared<std::string>("Dockerfile");
  dockerfile->add_option("FILE", *path, "Dockerfile")->capture_default_str();
  dockerfile->callback([=, &chosen] { chosen = [=] { return dump_dockerfile(*path); }; });
  return "debug";
}

}  // namespace imgbuild::cli
