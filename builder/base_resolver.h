#pragma once

#include <map>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "builder/build.h"
#include "builder/evaluate.h"
#include "builder/image_source.h"
#include "oci/image.h"

namespace imgbuild::builder {

/// Finds base images and named contexts for the evaluation of one Dockerfile, each once. Single-threaded.
class HostBaseResolver final : public BaseResolver {
 public:
  HostBaseResolver(const BuildRequest& request, Host& host, std::stop_token stop);

  std::optional<ResolvedBase> named_context(const std::string& name, const oci::Platform& platform) override;
  ResolvedBase image(const std::string& reference, const oci::Platform& platform) override;
  std::vector<PlannedImage> images() const override { return planned_; }
  std::optional<std::int64_t> context_time(const std::string& name) override;
  std::optional<std::int64_t> remote_time(const RemoteAdd& add) override;

  /// The images behind Plan::images, same order.
  const std::vector<oci::Image>& resolved() const noexcept { return resolved_; }

 private:
  ResolvedBase add(const std::string& key, const oci::Platform& platform, oci::Image image);

  const BuildRequest& request_;
  Host& host_;
  std::stop_token stop_;
  std::map<std::pair<std::string, std::string>, std::size_t> known_;
  std::vector<PlannedImage> planned_;
  std::vector<oci::Image> resolved_;
};

}  // namespace imgbuild::builder
