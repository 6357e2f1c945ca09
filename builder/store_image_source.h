#pragma once

#include <functional>

#include "builder/image_source.h"
#include "oci/blob_store.h"
#include "oci/image_store.h"
#include "oci/pull.h"

namespace imgbuild::builder {

/// Base images by name: first the local store, so that an image that was built, loaded or pulled before is
/// found without a network, then the registry. With `always_pull` the registry is always asked (FROM-11).
class StoreImageSource final : public ImageSource {
 public:
  /// All are borrowed. `stop` cancels what is under way.
  StoreImageSource(oci::BlobStore& blobs, oci::ImageStore& images, oci::ImagePuller& puller, bool always_pull,
                   std::function<Timestamp()> clock, std::stop_token stop);

  oci::Image resolve(const oci::Reference& name, const oci::Platform& platform, bool exact_platform) override;
  void fetch(const std::vector<oci::LayerBlob>& layers) override;

 private:
  std::optional<oci::Image> find_local(const oci::Reference& name, const oci::Platform& platform,
                                       bool exact) const;

  oci::BlobStore& blobs_;
  oci::ImageStore& images_;
  oci::ImagePuller& puller_;
  bool always_pull_;
  std::function<Timestamp()> clock_;
  std::stop_token stop_;
};

}  // namespace imgbuild::builder
