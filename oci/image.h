#pragma once

#include <map>
#include <string>
#include <vector>

#include "oci/blob_store.h"
#include "oci/descriptor.h"
#include "oci/image_config.h"
#include "oci/manifest.h"

namespace imgbuild::oci {

/// One image for one platform, as it stands in a blob store: an immutable view. All descriptors are the
/// original ones; `manifest_bytes` are the exact bytes (IMG-9).
struct Image {
  Descriptor descriptor;  ///< of the manifest
  std::string manifest_bytes;
  Manifest manifest;
  std::string config_bytes;
  ImageConfig config;
  std::vector<LayerBlob> layers;  ///< base first; blobs need not be stored yet when they come from a registry
};

/// The image behind `target`, a manifest or an index in `blobs`: follows indexes (at most 4 deep) to the
/// entry for `wanted`, verifies digests, sizes, types and counts (IMG-3, IMG-8, IMG-18, NET-4). Layers are
/// described, not opened. Throws IntegrityError; Error "no match for platform" when an index has nothing for
/// `wanted`.
Image load_image(const BlobStore& blobs, const Descriptor& target, const Platform& wanted,
                 bool allow_fallback);

struct WriteOptions {
  std::map<std::string, std::string> annotations;  ///< of the manifest (IMG-37)
  bool docker_media_types = false;                 ///< Docker's schema 2 instead of OCI (IMG-10, IMG-11)
};

/// Makes an image of `config` and `layers` (their number must be that of the diff IDs), stores config and
/// manifest, and returns the view of it. Layers are named by the wanted kind's type of the same compression.
/// Throws UnsupportedError for what Docker's types cannot express: annotations, zstd.
Image write_image(BlobStore& blobs, const ImageConfig& config, const std::vector<LayerBlob>& layers,
                  const WriteOptions& options = {});

}  // namespace imgbuild::oci
