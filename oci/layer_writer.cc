#include "oci/layer_writer.h"

#include "base/digesting_source.h"
#include "base/error.h"
#include "base/hash_chain.h"
#include "base/overlapped_hash_sink.h"
#include "base/strings.h"
#include "oci/content_loader.h"

namespace imgbuild::oci {

namespace {

/// The tar's way out, which every header and every piece of content takes.
class StoppableSink final : public Sink {
 public:
  StoppableSink(Sink& next, const std::stop_token& stop) : next_(next), stop_(stop) {}
  void write(std::string_view bytes) override {
    if (stop_.stop_requested()) throw Cancelled();
    next_.write(bytes);
  }
  void write_shared(std::string_view bytes, const std::shared_ptr<const void>& owner) override {
    if (stop_.stop_requested()) throw Cancelled();
    next_.write_shared(bytes, owner);
  }
  void finish() override { next_.finish(); }
  void boundary() override { next_.boundary(); }

 private:
  Sink& next_;
  const std::stop_token& stop_;
};

bool is_regular(const LayerEntry& entry) {
  return entry.kind == LayerEntry::Kind::node && entry.attributes.type == FileType::regular;
}

/// Writes one entry whose bytes, if any, come from `content`, and returns their digest when it was asked for
/// and not known.
std::optional<Digest> add_hashed(TarWriter& tar, const LayerEntry& entry, Source* content, ThreadPool* pool) {
  if (content == nullptr) {
    tar.add(entry, nullptr);
    return sha256("");
  }
  auto* const digesting = dynamic_cast<DigestingSource*>(content);
  if (digesting != nullptr && !digesting->leave_hashing()) {
    tar.add(entry, content);
    if (const auto digest = digesting->digest()) return digest;
    throw Error(cat("nobody knows the digest of ", printable(entry.path)));
  }
  HashChain hash(pool, entry.attributes.size);
  tar.add(entry, content, &hash);
  const Digest digest = hash.digest();
  if (digesting != nullptr) digesting->set_digest(digest);
  return digest;
}

std::optional<Digest> add(TarWriter& tar, const PendingEntry& pending,
                          std::optional<ContentLoader::Loaded> loaded, bool compute_content,
                          ThreadPool* pool) {
  const LayerEntry& entry = pending.entry;
  compute_content = compute_content && is_regular(entry) && !entry.content;
  if (loaded) {
    tar.add(entry, loaded->content.get());
    return loaded->digest;
  }
  const auto content = has_bytes(entry) && pending.open ? pending.open() : nullptr;
  if (compute_content && (content != nullptr || !has_bytes(entry)))
    return add_hashed(tar, entry, content.get(), pool);
  tar.add(entry, content.get());
  return std::nullopt;
}

/// The entry as a reader of the finished layer would see it.
LayerEntry as_written(const LayerEntry& entry, const TarOptions& options) {
  LayerEntry written;
  written.kind = entry.kind;
  written.path = entry.path;
  if (entry.kind == LayerEntry::Kind::hard_link) written.hard_link_target = entry.hard_link_target;
  if (entry.kind != LayerEntry::Kind::node) return written;
  written.attributes = entry.attributes;
  written.attributes.mtime = written_mtime(entry.attributes.mtime, options);
  if (entry.attributes.type == FileType::symlink) written.attributes.mode = 0777;
  if (entry.attributes.type != FileType::regular) written.attributes.size = 0;
  written.content = entry.content;
  return written;
}

}  // namespace

std::string_view layer_media_type(CompressionKind kind) {
  switch (kind) {
    case CompressionKind::none:
      return "application/vnd.oci.image.layer.v1.tar";
    case CompressionKind::gzip:
      return "application/vnd.oci.image.layer.v1.tar+gzip";
    case CompressionKind::zstd:
      return "application/vnd.oci.image.layer.v1.tar+zstd";
  }
  return {};
}

std::uint64_t content_bytes(const std::vector<PendingEntry>& entries) {
  std::uint64_t bytes = 0;
  for (const PendingEntry& pending : entries) {
    if (has_bytes(pending.entry)) bytes += pending.entry.attributes.size;
  }
  return bytes;
}

LayerIndex index_before_writing(const std::vector<PendingEntry>& entries, const TarOptions& options) {
  LayerIndex index;
  index.entries.reserve(entries.size());
  for (const PendingEntry& pending : entries) index.entries.push_back(as_written(pending.entry, options));
  return index;
}

WrittenLayer write_layer(const std::vector<PendingEntry>& entries, const Compression& how, BlobStore& store,
                         ThreadPool* pool, const WriteLayerOptions& options) {
  const std::uint64_t expected = content_bytes(entries);
  const auto blob = store.create();
  OverlappedHashSink packed(*blob, pool, expected);
  PackedReport report;
  const auto compressor = make_compressor(how, packed, pool, options.pieces, &report);
  OverlappedHashSink plain(*compressor, pool, expected);
  StoppableSink stoppable(plain, options.stop);
  TarWriter tar(stoppable, options.tar);

  LayerIndex index;
  index.entries.reserve(entries.size());
  ContentLoader loader(entries, options.compute_content, pool);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const PendingEntry& pending = entries[i];
    const auto content = add(tar, pending, loader.take(i), options.compute_content, pool);
    index.entries.push_back(as_written(pending.entry, options.tar));
    if (content) index.entries.back().content = content;
  }
  tar.finish();

  const Digest digest = packed.digest();
  blob->commit(digest);
  LayerBlob layer{.blob = {.media_type = std::string(layer_media_type(how.kind)),
                           .digest = digest,
                           .size = packed.size()},
                  .diff_id = DiffId{plain.digest()}};
  return {std::move(layer), std::move(index), std::move(report)};
}

}  // namespace imgbuild::oci
