#include "oci/layer_reader.h"

#include "base/error.h"
#include "base/hash.h"
#include "base/read_ahead_source.h"
#include "base/strings.h"

namespace imgbuild::oci {

namespace {

/// Checks the diff ID before it lets the end of stream through.
class DiffIdSource final : public Source {
 public:
  DiffIdSource(std::unique_ptr<Source> from, const DiffId& expected)
      : from_(std::move(from)), expected_(expected) {}

  std::size_t read(std::span<char> buffer) override {
    if (checked_ || buffer.empty()) return 0;
    const std::size_t got = from_->read(buffer);
    hash_.update({buffer.data(), got});
    if (got == 0) {
      checked_ = true;
      const Digest actual = hash_.finish();
      if (actual != expected_.value) {
        throw IntegrityError(cat("the layer does not match its diff ID: expected ", expected_.value.str(),
                                 ", got ", actual.str()));
      }
    }
    return got;
  }

 private:
  std::unique_ptr<Source> from_;
  DiffId expected_;
  Sha256 hash_;
  bool checked_ = false;
};

}  // namespace

LayerNames read_layer(Source& plain_tar, const LayerVisitor& visit, const TarLimits& limits) {
  TarReader reader(plain_tar, limits);
  LayerNames names(limits.entries);
  while (const TarMember* member = reader.next()) {
    LayerEntry entry = member->entry;
    const Placement placement = names.add(entry);
    if (visit) visit(entry, placement, reader, *member);
  }
  reader.drain();
  return names;
}

CompressionKind layer_compression(std::string_view media_type) {
  constexpr std::string_view kOci = "application/vnd.oci.image.layer.";
  constexpr std::string_view kDocker = "application/vnd.docker.image.rootfs.";
  if (media_type.starts_with(kOci) || media_type.starts_with(kDocker)) {
    if (media_type.ends_with(".tar")) return CompressionKind::none;
    if (media_type.ends_with(".tar+gzip") || media_type.ends_with(".tar.gzip")) return CompressionKind::gzip;
    if (media_type.ends_with(".tar+zstd") || media_type.ends_with(".tar.zstd")) return CompressionKind::zstd;
  }
  throw UnsupportedError(
      cat("the layer has the media type ", printable(media_type), ", which cannot be unpacked"));
}

std::unique_ptr<Source> open_layer(const BlobStore& store, const LayerBlob& layer,
                                   const DecompressLimits& limits) {
  const CompressionKind kind = layer_compression(layer.blob.media_type);
  const auto size = store.find_blob(layer.blob.digest);
  if (size && *size != layer.blob.size) {
    throw IntegrityError(cat("the layer ", layer.blob.digest.str(), " has ", *size,
                             " bytes, but its descriptor says ", layer.blob.size));
  }
  auto packed = store.open_blob(layer.blob.digest);  // checks the digest on the way
  auto plain = std::make_unique<ReadAheadSource>(make_decompressor(kind, std::move(packed), limits));
  return std::make_unique<DiffIdSource>(std::move(plain), layer.diff_id);
}

LayerIndex index_layer(const BlobStore& store, const LayerBlob& layer, const TarLimits& limits) try {
  const auto plain = open_layer(store, layer);
  return read_layer(*plain, {}, limits).take_index();
} catch (Error& error) {
  error.add_context(cat("reading layer ", layer.blob.digest.str()));
  throw;
}

}  // namespace imgbuild::oci
