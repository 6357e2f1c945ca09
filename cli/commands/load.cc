#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "base/error.h"
#include "base/strings.h"
#include "cli/commands/commands.h"
#include "cli/store_session.h"
#include "oci/archive_import.h"

namespace imgbuild::cli {

namespace {

struct LoadOptions {
  std::string input;
  std::vector<std::string> tags;
};

int load(const CommandContext& context, const LoadOptions& options) {
  StoreSession session(
      {.path = store_path(context.root, context.environment, ::geteuid() == 0), .with_sandbox = false},
      context.environment);
  auto& host = session.host();
  std::vector<oci::Reference> wanted;
  for (const auto& text : options.tags) wanted.push_back(oci::Reference::parse(text));

  std::vector<oci::ImportedImage> images;
  if (options.input == "-") {
    images = oci::import_archive(
        std::make_unique<FileSource>(UniqueFd(::dup(STDIN_FILENO)), "standard input"), host.blobs);
  } else {
    images = oci::import_path(options.input, host.blobs);
  }
  if (images.empty()) throw Error(cat(printable(options.input), " holds no image"));
  if (!wanted.empty() && images.size() > 1) {
    throw Error(cat("the archive holds ", images.size(), " images; --tag names exactly one"),
                ExitCode::usage);
  }
  for (const auto& image : images) {
    const auto& names = wanted.empty() ? image.names : wanted;
    for (const auto& name : names) {
      host.images.tag(name, image.target, host.clock());
      std::cout << "Loaded image: " << name.familiar() << "\n";
    }
    if (names.empty()) {
      std::cout << "Loaded image without a name: " << image.target.digest.str() << "\n";
      std::cerr << "warning: nothing refers to this image; name it with --tag NAME\n";
    }
  }
  return 0;
}

}  // namespace

std::string add_load_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen) {
  auto* command =
      app.add_subcommand("load", "Put the images of an archive or layout folder into the local store.");
  auto options = std::make_shared<LoadOptions>();
  command
      ->add_option("-i,--input", options->input,
                   "OCI or docker archive, OCI layout folder, or - for standard input")
      ->required();
  command->add_option("-t,--tag", options->tags, "Name to give the image instead of the archive's own");
  command->add_option("--root", context.root, "Directory of the store");
  command->callback([=, &context, &chosen] { chosen = [=, &context] { return load(context, *options); }; });
  return "load";
}

}  // namespace imgbuild::cli
