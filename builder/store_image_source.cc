#include "builder/store_image_source.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::builder {

StoreImageSource::StoreImageSource(oci::BlobStore& blobs, oci::ImageStore& images, oci::ImagePuller& puller,
                                   bool always_pull, std::function<Timestamp()> clock, std::stop_token stop)
    : blobs_(blobs),
      images_(images),
      puller_(puller),
      always_pull_(always_pull),
      clock_(std::move(clock)),
      stop_(std::move(stop)) {}

std::optional<oci::Image> StoreImageSource::find_local(const oci::Reference& name,
                                                       const oci::Platform& platform, bool exact) const {
  const auto tagged = images_.find(name);
  if (!tagged) return std::nullopt;
  oci::Image image = oci::load_image(blobs_, tagged->target, platform, !exact);
  const bool complete = std::all_of(image.layers.begin(), image.layers.end(), [&](const auto& layer) {
    return blobs_.find_blob(layer.blob.digest).has_value();
  });
  if (!complete) return std::nullopt;  // pulled again from where it came
  return image;
}

oci::Image StoreImageSource::resolve(const oci::Reference& name, const oci::Platform& platform,
                                     bool exact_platform) {
  auto local = always_pull_ ? std::nullopt : find_local(name, platform, exact_platform);
  if (local && local->config.platform == platform) return std::move(*local);
  try {
    oci::Image pulled = puller_.resolve(name, platform, exact_platform, stop_);
    // Kept under its name, so that the next build finds it without a network.
    if (!local) images_.tag(name, pulled.descriptor, clock_(), true);
    return pulled;
  } catch (RegistryError& error) {
    if (local) return std::move(*local);  // built or loaded here for another platform, and all there is
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
