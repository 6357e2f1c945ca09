#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "builder/build.h"
#include "builder/source_tree.h"
#include "oci/image.h"

namespace imgbuild::builder {

/// The context `name` stands for on `platform`: `name::os/arch` is preferred over `name`; image names are
/// compared in their familiar form without `:latest` (CTX-10). nullptr when none was given.
const NamedContext* find_named_context(const std::vector<NamedContext>& contexts, const std::string& name,
                                       const oci::Platform& platform);

/// A named context that is an image: `docker-image://REF`, `oci-layout://DIR[:TAG|@DIGEST]`.
struct NamedImage {
  bool scratch = false;  ///< docker-image://scratch
  std::optional<oci::Image> image;
};
/// Nothing when the context is a tree of files (directory, git, URL, tar). Throws Error for an unusable
/// value.
std::optional<NamedImage> open_named_image(const NamedContext& context, const oci::Platform& platform,
                                           Host& host);

/// The files of a context that is no image (CTX-13, CTX-15). Throws Error when it cannot be had.
std::shared_ptr<SourceTree> open_named_tree(const NamedContext& context, const BuildRequest& request,
                                            Host& host, std::stop_token stop);

}  // namespace imgbuild::builder
