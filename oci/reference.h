#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/digest.h"

namespace imgbuild::oci {

/// Registry, repository, tag or digest. Always normalised: `alpine` is `docker.io/library/alpine:latest`
/// (REG-1 ff., FROM-6).
class Reference {
 public:
  /// Throws Error that says what is wrong with `text` ("repository name must be lowercase", …).
  static Reference parse(std::string_view text);

  const std::string& registry() const noexcept { return registry_; }      ///< "docker.io", "localhost:5000"
  const std::string& repository() const noexcept { return repository_; }  ///< "library/alpine"
  const std::optional<std::string>& tag() const noexcept {
    return tag_;
  }  ///< set unless only a digest was given
  const std::optional<Digest>& digest() const noexcept { return digest_; }
  /// What a manifest is asked for with: the digest if there is one, else the tag.
  std::string manifest_selector() const;

  std::string str() const;       ///< fully qualified: docker.io/library/alpine:latest
  std::string familiar() const;  ///< as people write it: alpine:latest
  auto operator<=>(const Reference&) const = default;

 private:
  Reference() = default;
  std::string registry_, repository_;
  std::optional<std::string> tag_;
  std::optional<Digest> digest_;
};

}  // namespace imgbuild::oci
