#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "cli/commands/commands.h"
#include "cli/store_session.h"
#include "oci/archive_import.h"
#include "oci/disk_blob_store.h"
#include "oci/image_diff.h"

namespace imgbuild::cli {

namespace {

struct DiffOptions {
  std::string a, b;
  bool all = false;
  std::string format = "text";
};

bool exists(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
}

/// An image named on the command line: a name or digest in the store, an archive, or a layout folder. An
/// archive's blobs lie in a directory of their own while this lives, and not in the store.
class NamedImage {
 public:
  NamedImage(const std::string& text, builder::Host& host, const std::string& temporary) {
    if (exists(text)) {
      directory_.emplace(TempDir::create(temporary, "imgbuild-"));
      blobs_ = std::make_unique<oci::DiskBlobStore>(directory_->fd());
      const auto images = oci::import_path(text, *blobs_);
      if (images.size() != 1)
        throw Error(cat(printable(text), " holds ", images.size(), " images; only one can be compared"),
                    ExitCode::usage);
      image_ = oci::load_image(*blobs_, images.front().target, oci::Platform::host(), true);
      return;
    }
    const auto reference = oci::Reference::parse(text);
    const auto tagged = host.images.find(reference);
    if (!tagged) {
      throw Error(cat("no image named ", reference.familiar(), " in the store, and no file of that name"),
                  ExitCode::usage)
          .with_note(
              "name an image of the store, an archive or a layout folder; `imgbuild images` lists the store");
    }
    store_ = &host.blobs;
    image_ = oci::load_image(host.blobs, tagged->target, oci::Platform::host(), true);
  }
  oci::StoredImage stored() const {
    return {blobs_ ? static_cast<const oci::BlobStore&>(*blobs_) : *store_, *image_};
  }

 private:
  std::optional<TempDir> directory_;
  std::unique_ptr<oci::DiskBlobStore> blobs_;
  const oci::BlobStore* store_ = nullptr;
  std::optional<oci::Image> image_;
};

std::string line_of(const oci::ImageDifference& difference) {
  return printable(cat(difference.place, difference.path.empty() ? "" : cat(": ", difference.path), ": ",
                       difference.field, ": ", difference.before, " became ", difference.after));
}

std::string json_of(const oci::ImageDifference& difference) {
  const nlohmann::json document = {{"place", difference.place},
                                   {"path", difference.path},
                                   {"field", difference.field},
                                   {"before", difference.before},
                                   {"after", difference.after}};
  return document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

int diff(const CommandContext& context, const DiffOptions& options) {
  StoreSession session(
      {.path = store_path(context.root, context.environment, ::geteuid() == 0), .with_sandbox = false},
      context.environment);
  const std::string temporary = context.environment.find("TMPDIR").value_or("/tmp");
  const NamedImage a(options.a, session.host(), temporary);
  const NamedImage b(options.b, session.host(), temporary);
  bool same = true;
  oci::compare_images(a.stored(), b.stored(), [&](const oci::ImageDifference& difference) {
    same = false;
    std::cout << (options.format == "json" ? json_of(difference) : line_of(difference)) << "\n";
    return options.all;
  });
  return same ? 0 : 1;
}

}  // namespace

std::string add_diff_command(CLI::App& app, CommandContext& context, std::function<int()>& chosen) {
  auto* command =
      app.add_subcommand("diff", "Name the first difference of two images. Exit code: 0 equal, 1 different.");
  auto options = std::make_shared<DiffOptions>();
  command->add_option("A", options->a, "Image in the store, archive or layout folder")->required();
  command->add_option("B", options->b, "The same")->required();
  command->add_flag("--all", options->all, "Every difference, not only the first");
  command->add_option("--format", options->format, "text, or json: a line each")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  command->add_option("--root", context.root, "Directory of the store");
  command->callback([=, &context, &chosen] { chosen = [=, &context] { return diff(context, *options); }; });
  return "diff";
}

}  // namespace imgbuild::cli
