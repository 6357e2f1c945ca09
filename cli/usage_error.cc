#include "cli/usage_error.h"

#include <algorithm>

#include "base/strings.h"

namespace imgbuild::cli {

namespace {

const CLI::App& chosen_command(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app : *chosen.front();
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const auto& name : option->get_lnames()) names.push_back(name);
  }
  return names;
}

Error unexpected_word(const CLI::App& command, const std::string& word) {
  if (word.size() < 2 || word.front() != '-') {
    Error error(cat("unexpected argument \"", printable(word), "\""), ExitCode::usage);
    if (command.get_name() == "build")
      error.add_note("there is one build context; an option that takes a value wants it right behind it");
    return error;
  }
  const std::string name = word.substr(0, word.find('='));
  Error error(cat("unknown option ", printable(name)), ExitCode::usage);
  const auto bare = std::string_view(name).substr(std::min(name.find_first_not_of('-'), name.size()));
  if (const auto close = nearest(bare, option_names(command)))
    error.add_note(cat("did you mean --", *close, "?"));
  return error;
}

Error first_mistake(const CLI::App& app, const CLI::App& command, const CLI::ParseError& error) {
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const auto extras = app.remaining(true);
    const auto option =
        std::find_if(extras.begin(), extras.end(), [](const auto& word) { return word.starts_with('-'); });
    if (!extras.empty()) return unexpected_word(command, option != extras.end() ? *option : extras.front());
  }
  return Error(printable(error.what()), ExitCode::usage);
}

}  // namespace

Error usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& command = chosen_command(app);
  Error out = first_mistake(app, command, error);
  const std::string name = &command == &app ? "imgbuild" : cat("imgbuild ", command.get_name());
  out.add_note(cat(name, " --help lists what there is"));
  return out;
}

}  // namespace imgbuild::cli
