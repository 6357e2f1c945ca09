#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "base/error.h"
#include "base/strings.h"
#include "cli/commands/commands.h"
#include "cli/store_session.h"
#include "oci/image.h"

namespace imgbuild::cli {

namespace {

std::uint64_t image_size(const oci::Image& image) {
  std::uint64_t size = image.descriptor.size + image.manifest.config.size;
  for (const auto& layer : image.manifest.layers) size += layer.size;
  return size;
}

int list_images(const CommandContext& context) {
  StoreSession session(
      {.path = store_path(context.root, context.environment, ::geteuid() == 0), .with_sandbox = false},
      context.environment);
  auto& host = session.host();
  std::vector<std::vector<std::string>> rows = {{"NAME", "DIGEST", "PLATFORM", "LAYERS", "SIZE"}};
  for (const auto& tagged : host.images.list()) {
    try {
      const oci::Image image = oci::load_image(host.blobs, tagged.target, oci::Platform::host(), true);
      rows.push_back({tagged.name.familiar(), tagged.target.digest.str(), image.config.platform.str(),
                      cat(image.layers.size()), human_size(image_size(image))});
    } catch (const Error& error) {
      rows.push_back(
          {tagged.name.familiar(), tagged.target.digest.str(), cat("unreadable: ", error.message()), "", ""});
    }
  }
  std::vector<std::size_t> widths(rows[0].size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += i + 1 == row.size() ? row[i] : pad_right(row[i], widths[i] + 2);
    std::cout << printable(line) << "\n";
  }
  return 0;
}

int inspect(const CommandContext& context, const std::string& name, bool manifest) {
  StoreSession session(
      {.path = store_path(context.root, context.environment, ::geteuid() == 0), .with_sandbox = false},
      context.environment);
  auto& host = session.host();
  const auto reference = oci::Reference::parse(name);
  const auto tagged = host.images.find(reference);
  if (!tagged) {
    std::vector<std::string> names;
    for (const auto& known : host.images.list()) names.push_back(known.name.familiar());
    Error error(cat("no image named ", reference.familiar(), " in the store"));
    if (const auto close = nearest(reference.familiar(), names))
      error.add_note(cat("did you mean ", *close, "?"));
    throw error;
  }
  const oci::Image image = oci::load_image(host.blobs, tagged->target, oci::Platform::host(), true);
  std::cout << (manifest ? image.manifest_bytes : image.config_bytes) << "\n";
  return 0;
}

}  // namespace

std::string add_images_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen) {
  auto* command = app.add_subcommand("images", "List the images in the local store.");
  command->add_option("--root", context.root, "Directory of the store");
  command->callback([&context, &chosen] { chosen = [&context] { return list_images(context); }; });
  return "images";
}

std::string add_inspect_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen) {
  auto* command = app.add_subcommand("inspect", "Print the config (or the manifest) of an image, as JSON.");
  auto name = std::make_shared<std::string>();
  auto manifest = std::make_shared<bool>(false);
  command->add_option("NAME", *name, "Image in the local store")->required();
  command->add_flag("--manifest", *manifest, "Print the manifest instead of the config");
  command->add_option("--root", context.root, "Directory of the store");
  command->callback(
      [=, &context, &chosen] { chosen = [=, &context] { return inspect(context, *name, *manifest); }; });
  return "inspect";
}

}  // namespace imgbuild::cli
