#pragma once

#include <string>
#include <vector>

#include "oci/descriptor.h"
#include "oci/image.h"
#include "oci/platform.h"
#include "oci/reference.h"

namespace imgbuild::builder {

/// Where base images come from: the local store, then a registry. Thread-safe.
class ImageSource {
 public:
  virtual ~ImageSource() = default;
  /// The image `name` means for `platform`. Its manifest and config are in the blob store afterwards, its
  /// layers need not be. `exact_platform`: no fallback to another architecture (IMG-44). Throws RegistryError
  /// when it cannot be had.
  virtual oci::Image resolve(const oci::Reference& name, const oci::Platform& platform,
                             bool exact_platform) = 0;
  /// Makes sure that the blobs of `layers` are in the store. Only layers of images this source resolved, or
  /// of the store itself, can be had.
  virtual void fetch(const std::vector<oci::LayerBlob>& layers) = 0;
};

}  // namespace imgbuild::builder
