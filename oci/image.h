#pragma once

#include <string>
#include <vector>

#include "oci/descriptor.h"
#include "oci/image_config.h"
#include "oci/manifest.h"

namespace imgbuild::oci {

/// One image for one platform, as it stands in a blob store: an immutable view. All descriptors are the original
/// ones; `manifest_bytes` are the exact bytes (IMG-9).
struct Image {
  Descriptor descriptor;         ///< of the manifest
  std::string manifest_bytes;
  Manifest manifest;
  std::string config_bytes;
  ImageConfig config;
  std::vector<LayerBlob> layers; ///< base first; blobs need not be stored yet when they come from a registry
};

}  // namespace imgbuild::oci
