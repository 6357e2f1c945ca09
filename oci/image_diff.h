#pragma once

#include <functional>
#include <string>

#include "oci/blob_store.h"
#include "oci/image.h"

namespace imgbuild::oci {

/// One field in which two images differ.
struct ImageDifference {
  std::string place;   ///< "config", "manifest", "layer 3"
  std::string path;    ///< of the file in the layer; empty elsewhere
  std::string field;   ///< "config.Env[1]", "mtime", "content"
  std::string before;  ///< as text; "(absent)" when only the other has it
  std::string after;
};

/// One image and where its blobs are.
struct StoredImage {
  const BlobStore& blobs;
  const Image& image;
};

/// Finds every field in which `a` and `b` differ: layers first, from the lowest up and entry by entry, then
/// the config, then the manifest. Digests that only follow from other differences are left out. `found`
/// returns whether to go on. Blobs are verified while they are read. Throws IntegrityError.
void compare_images(const StoredImage& a, const StoredImage& b,
                    const std::function<bool(const ImageDifference&)>& found);

}  // namespace imgbuild::oci
