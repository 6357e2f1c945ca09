#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "base/error.h"
#include "base/strings.h"
#include "builder/store/store_root.h"
#include "cli/commands/commands.h"
#include "cli/store_session.h"
#include "oci/disk_image_store.h"

namespace imgbuild::cli {

namespace {

Error unknown_name(const oci::Reference& name, const oci::ImageStore& images) {
  Error error(cat("no image named ", name.familiar(), " in the store"));
  std::vector<std::string> known;
  for (const auto& image : images.list()) known.push_back(image.name.familiar());
  if (const auto close = nearest(name.familiar(), known)) error.add_note(cat("did you mean ", *close, "?"));
  return error;
}

/// All names are looked up before one is removed.
int rmi(const CommandContext& context, const std::vector<std::string>& names, bool force) {
  const auto store =
      builder::open_store_root(store_path(context.root, context.environment, ::geteuid() == 0));
  oci::DiskImageStore images(store.dir.get());
  std::vector<oci::Reference> wanted;
  for (const auto& text : names) {
    wanted.push_back(oci::Reference::parse(text));
    if (!force && !images.find(wanted.back())) throw unknown_name(wanted.back(), images);
  }
  for (const auto& name : wanted) {
    if (images.untag(name)) std::cout << "Untagged: " << name.familiar() << "\n";
  }
  return 0;
}

}  // namespace

std::string add_rmi_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen) {
  auto* command =
      app.add_subcommand("rmi", "Remove names of images; what only they need goes with the next prune.");
  auto names = std::make_shared<std::vector<std::string>>();
  auto force = std::make_shared<bool>(false);
  command->add_option("NAME", *names, "Names of images")->required();
  command->add_flag("-f,--force", *force, "Content when there is no such name");
  command->add_option("--root", context.root, "Directory of the store");
  command->callback(
      [=, &context, &chosen] { chosen = [=, &context] { return rmi(context, *names, *force); }; });
  return "rmi";
}

}  // namespace imgbuild::cli
