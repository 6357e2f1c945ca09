#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/compress.h"
#include "builder/host.h"
#include "builder/snapshot.h"
#include "oci/image.h"
#include "oci/reference.h"

namespace imgbuild::builder {

/// One result of a build (EXP-1…5). Plain data, parsed by the command line.
struct OutputSpec {
  enum class Kind {
    image,       ///< the local store only
    oci,         ///< OCI layout, as a tar or (`as_directory`) a folder
    docker,      ///< OCI layout plus Docker's manifest.json; `-o app.tar` is this one too
    tar,         ///< the root file system as one tar
    local,       ///< the root file system in a folder
    cache_only,  ///< nothing; fills the cache
  };
  Kind kind = Kind::image;
  std::string destination;            ///< path; "-" is `stdout_fd` of the writer
  bool as_directory = false;          ///< oci, docker: tar=false
  std::vector<oci::Reference> names;  ///< beside the build's own tags
};

/// What is written.
struct OutputInputs {
  const oci::Image* image = nullptr;   ///< for image-like kinds
  const Snapshot* snapshot = nullptr;  ///< for tar and local
  std::vector<oci::Reference> names;   ///< all names
  std::optional<Timestamp> epoch;
  oci::Platform platform;
};

/// True when this kind needs an image (manifest and config), not only a file system.
bool needs_image(const OutputSpec& spec);

/// Writes one output. Files appear by one rename; a folder's index.json is replaced last (EXP-5). Throws
/// Error.
void write_output(const OutputSpec& spec, const OutputInputs& inputs, Host& host, std::stop_token stop);

}  // namespace imgbuild::builder
