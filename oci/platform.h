#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace imgbuild::oci {

/// Operating system and processor an image is for, always normalised (IMG-42).
struct Platform {
  std::string os = "linux";
  std::string architecture = "amd64";
  std::string variant;
  std::string os_version;
  std::vector<std::string> os_features;

  /// `os[(version)][/arch[/variant]]`, also `arch` or `os` alone (FROM-8). Throws Error.
  static Platform parse(std::string_view text);
  static Platform normalized(Platform raw);
  static Platform host();
  std::string str() const;  ///< "linux/arm/v7"
  bool operator==(const Platform&) const = default;
};

}  // namespace imgbuild::oci
