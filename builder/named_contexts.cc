#include "builder/named_contexts.h"

#include <sys/stat.h>

#include "base/error.h"
#include "base/strings.h"
#include "builder/build_context.h"
#include "builder/dockerfile_location.h"
#include "builder/remote_context.h"
#include "oci/archive_import.h"
#include "oci/layout.h"

namespace imgbuild::builder {

namespace {

constexpr std::string_view kImage = "docker-image://";
constexpr std::string_view kLayout = "oci-layout://";

bool is_directory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

/// `alpine:latest` and `docker.io/library/alpine` are `alpine` (CTX-10).
std::string familiar_name(std::string name) {
  for (const std::string_view prefix : {"docker.io/library/", "index.docker.io/library/", "docker.io/"}) {
    if (name.starts_with(prefix)) {
      name.erase(0, prefix.size());
      break;
    }
  }
  if (name.ends_with(":latest")) name.erase(name.size() - 7);
  return name;
}

/// `DIR`, `DIR:TAG` or `DIR@sha256:…`; the directory may hold colons itself, so what exists decides.
std::pair<std::string, std::string> split_layout(const std::string& text) {
  if (is_directory(text)) return {text, ""};
  const auto at = text.rfind("@sha256:");
  if (at != std::string::npos) return {text.substr(0, at), text.substr(at)};
  const auto colon = text.rfind(':');
  if (colon != std::string::npos && text.find('/', colon) == std::string::npos) {
    return {text.substr(0, colon), text.substr(colon + 1)};
  }
  return {text, ""};
}

oci::Image open_layout_image(const std::string& value, const oci::Platform& platform, Host& host) {
  const auto [path, selector] = split_layout(value);
  const oci::Layout layout = oci::Layout::open(path);
  const oci::Descriptor target = layout.select(selector);
  oci::copy_image(layout, target, host.blobs);
  return oci::load_image(host.blobs, target, platform, false);
}

}  // namespace

const NamedContext* find_named_context(const std::vector<NamedContext>& contexts, const std::string& name,
                                       const oci::Platform& platform) {
  const std::string wanted = familiar_name(name);
  const NamedContext* general = nullptr;
  for (const auto& context : contexts) {
    const auto separator = context.name.find("::");
    if (familiar_name(context.name.substr(0, separator)) != wanted) continue;
    if (separator == std::string::npos) {
      general = &context;
    } else if (oci::Platform::parse(context.name.substr(separator + 2)) == platform) {
      return &context;
    }
  }
  return general;
}

std::optional<NamedImage> open_named_image(const NamedContext& context, const oci::Platform& platform,
                                           Host& host) {
  try {
    if (context.value.starts_with(kImage)) {
      const std::string reference = context.value.substr(kImage.size());
      if (reference == "scratch") return NamedImage{.scratch = true, .image = std::nullopt};
      return NamedImage{.scratch = false,
                        .image = host.bases.resolve(oci::Reference::parse(reference), platform, true)};
    }
    if (context.value.starts_with(kLayout)) {
      return NamedImage{.scratch = false,
                        .image = open_layout_image(context.value.substr(kLayout.size()), platform, host)};
    }
  } catch (Error& error) {
    error.add_context(cat("opening the build context ", printable(context.name)));
    throw;
  }
  return std::nullopt;
}

std::shared_ptr<SourceTree> open_named_tree(const NamedContext& context, const BuildRequest& request,
                                            Host& host, std::stop_token stop) {
  try {
    if (!is_directory(context.value)) return open_remote_tree(context.value, request, host, stop);
    ContextOptions options;
    options.stop = stop;
    if (request.git_modes) options.modes = ContextModes::git;
    parser::IgnoreMatcher ignore;
    if (const auto file = find_ignore_file(context.value, "", PathTrust::trusted)) {  // CTX-15
      ignore = parser::IgnoreMatcher::parse(file);
      options.ignore_name = cat(context.value, "/", file->name());
    }
    return open_build_context(context.value, std::move(ignore), host.memo, &host.pool, host.clock, options);
  } catch (Error& error) {
    error.add_context(cat("opening the build context ", printable(context.name)));
    throw;
  }
}

}  // namespace imgbuild::builder
