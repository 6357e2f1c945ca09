#pragma once

#include <string>

#include "cli/commands/commands.h"
#include "cli/options.h"

namespace imgbuild::cli {

/// `--check` and `--call=…`: answers a question about the Dockerfile and builds nothing. `call` is a
/// sub-request's name,
/// `,format=json` or `,format=lint-json` may follow. Returns the exit code.
int run_call(const std::string& call, const BuildOptions& options, const CommandContext& context);

/// `imgbuild debug plan`: evaluates the Dockerfile and prints the plan. Returns the exit code.
int print_plan(const BuildOptions& options, const CommandContext& context);

}  // namespace imgbuild::cli
