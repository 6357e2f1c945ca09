#include "builder/store_image_source.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::builder {

StoreImageSource::StoreImageSource(oci::BlobStore& blobs, oci::ImageStore& images, oci::ImagePuller& puller,
                                   bool always_pull, std::stop_token stop)
    : blobs_(blobs), images_(images), puller_(puller), always_pull_(always_pull), stop_(std::move(stop)) {}

std::optional<oci::Image> StoreImageSource::find_local(const oci::Reference& name, const oci::Platform& platform,
                                                       bool exact) const {
  const auto tagged = images_.find(name);
  if (!tagged) return std::nullopt;
  oci::Image image = oci::load_image(blobs_, tagged->target, platform, !exact);
  const bool complete = std::all_of(image.layers.begin(), image.layers.end(), [&](const auto& layer) {
    return blobs_.find_blob(layer.blob.digest).has_value();
  });
  if (!complete) return std::nullopt;   // pulled again from where it came
  return image;
}

oci::Image StoreImageSource::resolve(const oci::Reference& name, const oci::Platform& platform, bool exact_platform) {
  if (!always_pull_) {
    if (auto local = find_local(name, platform, exact_platform)) return std::move(*local);
  }
  try {
    return puller_.resolve(name, platform, exact_platform, stop_);
  } catch (RegistryError& error) {
    std::vector<std::string> known;
    for (const auto& tagged : images_.list()) known.push_back(tagged.name.familiar());
    if (const auto close = nearest(name.familiar(), known)) error.add_note(cat("did you mean ", *close, "?"));
    error.add_note("an image can also come from an archive: imgbuild load -i image.tar");
    throw;
  }
}

void StoreImageSource::fetch(const std::vector<oci::LayerBlob>& layers) {
  std::vector<oci::LayerBlob> missing;
  for (const auto& layer : layers) {
    if (!blobs_.find_blob(layer.blob.digest)) missing.push_back(layer);
  }
  if (!missing.empty()) puller_.fetch_layers(missing, stop_);
}

}  // namespace imgbuild::builder
