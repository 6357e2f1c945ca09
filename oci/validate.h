#pragma once

#include <string>
#include <vector>

#include "oci/blob_store.h"
#include "oci/descriptor.h"

namespace imgbuild::oci {

/// Recomputes everything an image claims about itself: digests and sizes of all blobs, media types against
/// bytes, diff IDs, the validity of every layer's tar, counts of layers, diff IDs and history, platforms
/// (VER-8). Follows an index to all its manifests. Returns what is wrong, one sentence each; empty: nothing.
/// Throws only when the store itself fails.
std::vector<std::string> validate_image(const BlobStore& blobs, const Descriptor& target);

}  // namespace imgbuild::oci
