#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/options.h"

namespace CLI {
class App;
}

namespace imgbuild::cli {

/// What every command gets: the environment, and the options that come before all others.
struct CommandContext {
  const Environment& environment;
  std::string root;  ///< --root; empty: from the environment or the default place
};

/// Adds one command to `app` and returns its name. When the user picked it, `chosen` is set to what runs it
/// and gives the exit code.
using AddCommand =
    std::function<std::string(CLI::App& app, CommandContext& context, std::function<int()>& chosen)>;

std::vector<AddCommand> all_commands();

std::string add_build_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen);
std::string add_load_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen);
std::string add_images_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen);
std::string add_inspect_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen);
std::string add_context_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen);
std::string add_diff_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen);
std::string add_why_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen);
std::string add_du_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen);
std::string add_prune_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen);
std::string add_rmi_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen);
std::string add_fsck_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen);
std::string add_doctor_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen);
std::string add_debug_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen);

}  // namespace imgbuild::cli
