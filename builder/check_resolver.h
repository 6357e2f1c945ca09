#pragma once

#include <set>
#include <string>
#include <vector>

#include "builder/evaluate.h"

namespace imgbuild::builder {

/// Base images for a check: one whose registry cannot be reached does not keep the Dockerfile from being
/// checked. It is taken as an image without a config, and said so in `missing()`; its registry is not asked
/// again. A registry that answers that the image does not exist, and names under `.invalid`, which never
/// exist (RFC 2606), stay errors.
class CheckResolver final : public BaseResolver {
 public:
  /// `real` is borrowed.
  explicit CheckResolver(BaseResolver& real) : real_(real) {}

  std::optional<ResolvedBase> named_context(const std::string& name, const oci::Platform& platform) override {
    return real_.named_context(name, platform);
  }
  ResolvedBase image(const std::string& reference, const oci::Platform& platform) override;
  std::vector<PlannedImage> images() const override { return real_.images(); }

  /// Images nothing could be learned about, as they were asked for, each once.
  const std::vector<std::string>& missing() const noexcept { return missing_; }

 private:
  ResolvedBase unknown(const std::string& reference, const oci::Platform& platform);

  BaseResolver& real_;
  std::set<std::string> unreachable_;  ///< registries
  std::set<std::string> known_missing_;
  std::vector<std::string> missing_;
};

}  // namespace imgbuild::builder
