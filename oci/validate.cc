#include "oci/validate.h"

#include <algorithm>
#include <array>

#include "base/compress.h"
#include "base/error.h"
#include "base/strings.h"
#include "oci/image_config.h"
#include "oci/image_graph.h"
#include "oci/layer_reader.h"
#include "oci/media_type.h"

namespace imgbuild::oci {

namespace {

class Validation {
 public:
  explicit Validation(const BlobStore& blobs) : blobs_(blobs) {}

  void run(const Descriptor& target) {
    check("image", [&] {
      const ImageGraph graph = reach(blobs_, target);
      for (const auto& blob : graph.blobs) check(cat("blob ", blob.digest.str()), [&] { read_blob(blob); });
      for (const auto& reached : graph.manifests) check_manifest(reached);
    });
  }

  std::vector<std::string> take() { return std::move(findings_); }

 private:
  void add(std::string_view where, std::string_view what) { findings_.push_back(cat(where, ": ", what)); }

  template <typename Work>
  void check(const std::string& where, Work work) {
    try {
      work();
    } catch (const SystemError&) {
      throw;
    } catch (const Error& error) {
      add(where, error.message());
    }
  }

  void read_blob(const Descriptor& blob) {
    NullSink nowhere;
    const auto source = blobs_.open_blob(blob.digest);
    const std::uint64_t size = copy(*source, nowhere);
    if (size != blob.size)
      add(blob.digest.str(), cat("has ", size, " bytes, its descriptor says ", blob.size));
  }

  void check_manifest(const ReachedManifest& reached) {
    const std::string where = cat("manifest ", reached.descriptor.digest.str());
    const std::string& type = reached.manifest.config.media_type;
    if (type != kOciConfig && type != kDockerConfig) return;  // an artifact: its layers are no layers
    if (reached.descriptor.annotations.contains("vnd.docker.reference.type")) return;
    check(where, [&] {
      const ImageConfig config =
          ImageConfig::parse(load_described(blobs_, reached.manifest.config, kMaxConfigSize, "config"));
      const auto& layers = reached.manifest.layers;
      if (layers.size() != config.diff_ids.size()) {
        add(where,
            cat("it lists ", layers.size(), " layers, its config ", config.diff_ids.size(), " diff IDs"));
        return;
      }
      check_history(where, config);
      if (reached.descriptor.platform && *reached.descriptor.platform != config.platform) {
        add(where, cat("announced for ", reached.descriptor.platform->str(), ", its config says ",
                       config.platform.str()));
      }
      for (std::size_t i = 0; i < layers.size(); ++i) check_layer({layers[i], config.diff_ids[i]});
    });
  }

  void check_history(const std::string& where, const ImageConfig& config) {
    if (config.history.empty()) return;
    const auto filled = static_cast<std::size_t>(std::count_if(
        config.history.begin(), config.history.end(), [](const auto& entry) { return !entry.empty_layer; }));
    if (filled != config.diff_ids.size()) {
      add(where, cat("the history tells of ", filled, " layers, there are ", config.diff_ids.size()));
    }
  }

  void check_layer(const LayerBlob& layer) {
    const std::string where = cat("layer ", layer.blob.digest.str());
    check(where, [&] {
      std::array<char, 4> start{};
      const std::size_t got = blobs_.open_blob(layer.blob.digest)->read(start);
      const CompressionKind kind = sniff_compression({start.data(), got});
      const CompressionKind claimed = layer_compression(layer.blob.media_type);
      if (kind != claimed) {
        add(where, cat("its type says ", name_of(claimed), " compression, its bytes ", name_of(kind)));
        return;
      }
      const auto tar = open_layer(blobs_, layer);
      (void)read_layer(*tar);
    });
  }

  const BlobStore& blobs_;
  std::vector<std::string> findings_;
};

}  // namespace

std::vector<std::string> validate_image(const BlobStore& blobs, const Descriptor& target) {
  Validation validation(blobs);
  validation.run(target);
  return validation.take();
}

}  // namespace imgbuild::oci
