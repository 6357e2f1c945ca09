#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/descriptor.h"

namespace imgbuild::oci {

/// Layers of one image. Nobody's kernel mounts more than 500 at once, but stacks are merged before (SBX-33).
inline constexpr std::size_t kMaxLayers = 1000;

/// Config and layers of one image for one platform.
struct Manifest {
  std::string media_type;
  std::string artifact_type;
  Descriptor config;
  std::vector<Descriptor> layers;  ///< base first
  std::optional<Descriptor> subject;
  std::map<std::string, std::string> annotations;

  std::string serialize() const;  ///< IMG-15, IMG-16
  /// `expected_media_type`: what the descriptor or Content-Type said; must agree (IMG-8, NET-3). Throws
  /// IntegrityError.
  static Manifest parse(std::string_view json, std::string_view expected_media_type);
};

/// List of manifests, one a platform.
struct Index {
  std::string media_type;
  std::string artifact_type;
  std::vector<Descriptor> manifests;
  std::optional<Descriptor> subject;
  std::map<std::string, std::string> annotations;

  /// `pretty`: as a blob or pushed; compact for a layout's index.json (IMG-16).
  std::string serialize(bool pretty) const;
  static Index parse(std::string_view json, std::string_view expected_media_type);

  /// The entry for `wanted` by the preference lists of IMG-44/45. Nothing when none fits.
  std::optional<Descriptor> select(const Platform& wanted, bool allow_fallback) const;
};

}  // namespace imgbuild::oci
