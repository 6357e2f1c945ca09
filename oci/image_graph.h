#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "oci/blob_store.h"
#include "oci/descriptor.h"
#include "oci/manifest.h"

namespace imgbuild::oci {

inline constexpr std::uint64_t kMaxManifestSize = 4 << 20;  ///< manifests and indexes (IMG-7)
inline constexpr int kMaxIndexDepth = 4;                    ///< indexes within indexes
inline constexpr std::uint64_t kMaxConfigSize = 8 << 20;    ///< sandbox-and-security.md, section 8

/// The bytes a descriptor names, verified against its size and digest before anybody parses them (IMG-3).
/// Throws IntegrityError, also when they are more than `limit`; `what` is for the text ("manifest").
std::string load_described(const BlobStore& blobs, const Descriptor& descriptor, std::uint64_t limit,
                           std::string_view what);

struct ReachedManifest {
  Descriptor descriptor;
  Manifest manifest;
};

/// All that belongs to an image.
struct ImageGraph {
  std::vector<Descriptor> blobs;  ///< every blob once: indexes, manifests, configs, layers; parents first
  std::vector<ReachedManifest> manifests;  ///< in the order of the indexes, attestations too
};

/// Which children of an index must be stored. Archives may lack platforms their writer did not have.
enum class Children { all, at_least_one };

/// Follows `target`, a manifest or an index, to every blob; `subject` is not followed (IMG-21). Checks that
/// each blob is in `blobs` with its size and that the numbers stay within NET-4; digests are checked of
/// manifests and indexes, which are read. Throws IntegrityError.
ImageGraph reach(const BlobStore& blobs, const Descriptor& target, Children children = Children::all);

}  // namespace imgbuild::oci
