#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "oci/layer_entry.h"
#include "oci/platform.h"

namespace imgbuild::oci {

/// Media type, digest and size of a blob, with the optional members the spec allows (IMG-4).
struct Descriptor {
  std::string media_type;
  Digest digest;
  std::uint64_t size = 0;
  std::vector<std::string> urls;
  std::map<std::string, std::string> annotations;
  std::optional<Platform> platform;
  std::string artifact_type;
  bool operator==(const Descriptor&) const = default;
};

/// A stored layer: its blob and the digest of the tar inside.
struct LayerBlob {
  Descriptor blob;
  DiffId diff_id;
};

}  // namespace imgbuild::oci
