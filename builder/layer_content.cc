#include "builder/layer_content.h"

#include <mutex>

#include "base/error.h"
#include "base/strings.h"
#include "oci/layer_reader.h"

namespace imgbuild::builder {

namespace {

constexpr std::uint64_t kMaxFileInMemory = std::uint64_t{64} << 20;

/// Reads single files out of the layers' blobs: slow, but needs no right to create anything.
class BlobContent final : public ContentProvider {
 public:
  BlobContent(Host& host, std::vector<oci::LayerBlob> layers) : host_(host), layers_(std::move(layers)) {}

  oci::ContentOpener open(const oci::ContentOrigin& origin) override {
    for (const auto& layer : layers_) {
      if (layer.diff_id != origin.layer) continue;
      return [this, layer, path = origin.path] {
        host_.bases.fetch({layer});
        return std::make_unique<StringSource>(read_layer_file(layer, path));
      };
    }
    throw Error(cat("no layer of this snapshot holds ", printable(origin.path)));
  }

 private:
  std::string read_layer_file(const oci::LayerBlob& layer, const std::string& wanted) const {
    std::string found;
    const auto tar = oci::open_layer(host_.blobs, layer);
    oci::read_layer(*tar, [&](const oci::LayerEntry& entry, oci::Placement, oci::TarReader& content,
                              const oci::TarMember&) {
      if (entry.path != wanted) return;
      if (entry.attributes.size > kMaxFileInMemory) {
        throw Error(cat(printable(wanted), " is too large to be read out of a packed layer"));
      }
      std::vector<char> buffer(kChunkSize);
      found.clear();
      while (const std::size_t got = content.read(buffer)) found.append(buffer.data(), got);
    });
    return found;
  }

  Host& host_;
  std::vector<oci::LayerBlob> layers_;
};

/// Chooses how to read when somebody asks for the first byte: most who might read never do.
class LazyContent final : public ContentProvider {
 public:
  LazyContent(Host& host, std::vector<oci::LayerBlob> layers) : host_(host), layers_(std::move(layers)) {}

  oci::ContentOpener open(const oci::ContentOrigin& origin) override {
    std::call_once(opened_, [this] {
      host_.bases.fetch(layers_);
      Snapshotter* const snapshots = host_.run().snapshots;
      content_ =
          snapshots != nullptr ? snapshots->content(layers_) : std::make_shared<BlobContent>(host_, layers_);
    });
    return content_->open(origin);
  }

 private:
  Host& host_;
  std::vector<oci::LayerBlob> layers_;
  std::once_flag opened_;
  std::shared_ptr<ContentProvider> content_;
};

}  // namespace

std::shared_ptr<ContentProvider> layer_content(Host& host, const std::vector<oci::LayerBlob>& layers) {
  return std::make_shared<LazyContent>(host, layers);
}

}  // namespace imgbuild::builder
