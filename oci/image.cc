#include "oci/image.h"

#include <algorithm>
#include <cassert>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "oci/image_graph.h"
#include "oci/media_type.h"

namespace imgbuild::oci {

namespace {

void check_counts(const Image& image) {
  if (image.manifest.layers.size() != image.config.diff_ids.size()) {
    throw IntegrityError(cat("the manifest lists ", image.manifest.layers.size(), " layers, the config ",
                             image.config.diff_ids.size(), " diff IDs"));
  }
}

std::string offered_platforms(const Index& index) {
  std::vector<std::string> names;
  for (const auto& entry : index.manifests) {
    if (entry.platform && entry.platform->os != "unknown") names.push_back(entry.platform->str());
  }
  return names.empty() ? "none" : join(names, ", ");
}

}  // namespace

Image load_image(const BlobStore& blobs, const Descriptor& target, const Platform& wanted,
                 bool allow_fallback) {
  Descriptor current = target;
  for (int depth = 0; is_index_type(current.media_type); ++depth) {
    if (depth == kMaxIndexDepth) throw IntegrityError("image indexes are nested too deep");
    const Index index =
        Index::parse(load_described(blobs, current, kMaxManifestSize, "index"), current.media_type);
    const auto entry = index.select(wanted, allow_fallback);
    if (!entry) {
      Error error(cat("no match for platform ", wanted.str(), " in the image index"));
      error.add_note(cat("it offers: ", offered_platforms(index)));
      throw error;
    }
    current = *entry;
  }
  std::string bytes = load_described(blobs, current, kMaxManifestSize, "manifest");
  Manifest manifest = Manifest::parse(bytes, current.media_type);
  std::string config_bytes = load_described(blobs, manifest.config, kMaxConfigSize, "image config");
  ImageConfig config = ImageConfig::parse(config_bytes);
  Image image{current, std::move(bytes), std::move(manifest), std::move(config_bytes), std::move(config), {}};
  check_counts(image);
  for (std::size_t i = 0; i < image.manifest.layers.size(); ++i) {
    image.layers.push_back({image.manifest.layers[i], image.config.diff_ids[i]});
  }
  return image;
}

namespace {

/// The type a layer gets in a manifest of the wanted kind (IMG-11).
std::string written_layer_type(const std::string& media_type, bool docker) {
  const std::string_view type = oci_layer_type(media_type);
  if (!docker) return std::string(type);
  if (type == kOciLayer) return std::string(kDockerLayer);
  if (type == kOciLayerGzip) return std::string(kDockerLayerGzip);
  throw UnsupportedError(
      cat("a layer of type ", printable(media_type), " cannot be part of an image with Docker media types"));
}

}  // namespace

Image write_image(BlobStore& blobs, const ImageConfig& config, const std::vector<LayerBlob>& layers,
                  const WriteOptions& options) {
  assert(config.diff_ids.size() == layers.size());
  const bool docker = options.docker_media_types;
  if (docker && !options.annotations.empty())
    throw UnsupportedError("images with Docker media types have no annotations");
  const std::string config_bytes = config.serialize();
  Manifest manifest{.media_type = std::string(docker ? kDockerManifest : kOciManifest),
                    .artifact_type = {},
                    .config = {.media_type = std::string(docker ? kDockerConfig : kOciConfig),
                               .digest = put_blob(blobs, config_bytes),
                               .size = config_bytes.size(),
                               .urls = {},
                               .annotations = {},
                               .platform = std::nullopt,
                               .artifact_type = {}},
                    .layers = {},
                    .subject = std::nullopt,
                    .annotations = options.annotations};
  for (const auto& layer : layers) {
    Descriptor blob = layer.blob;
    blob.media_type = written_layer_type(blob.media_type, docker);
    blob.platform.reset();
    manifest.layers.push_back(std::move(blob));
  }
  const std::string bytes = manifest.serialize();
  const Descriptor descriptor{.media_type = manifest.media_type,
                              .digest = put_blob(blobs, bytes),
                              .size = bytes.size(),
                              .urls = {},
                              .annotations = {},
                              .platform = config.platform,
                              .artifact_type = {}};
  return {descriptor, bytes, std::move(manifest), config_bytes, config, layers};
}

}  // namespace imgbuild::oci
