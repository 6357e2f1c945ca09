#include "builder/image_assembler.h"

#include <algorithm>

#include "builder/secret_guard.h"
#include "builder/spool.h"
#include "oci/layer_reader.h"
#include "oci/layer_writer.h"

namespace imgbuild::builder {

namespace {

/// A base without history cannot be told apart from the layers put on it, so the whole image does without
/// (IMG-35).
bool history_fits(const std::vector<oci::HistoryEntry>& history, std::size_t layers) {
  const auto with_layer =
      std::count_if(history.begin(), history.end(), [](const auto& e) { return !e.empty_layer; });
  return static_cast<std::size_t>(with_layer) == layers;
}

bool has_later_time(const oci::LayerIndex& index, std::int64_t epoch) {
  return std::any_of(index.entries.begin(), index.entries.end(), [&](const oci::LayerEntry& entry) {
    return entry.kind == oci::LayerEntry::Kind::node && entry.attributes.mtime > Timestamp{epoch, 0};
  });
}

/// The same entries in the same order with clamped times. Contents go through a spool: a layer is read in one
/// direction and written in the same, but entries must be known before they are written.
oci::WrittenLayer rewrite_layer(const oci::LayerBlob& layer, std::int64_t epoch, const Compression& how,
                                Host& host, const std::stop_token& stop) {
  Spool spool(host.store.work_fd(), stop);
  std::vector<oci::PendingEntry> entries;
  const auto tar = oci::open_layer(host.blobs, layer);
  oci::read_layer(*tar, [&](const oci::LayerEntry& entry, oci::Placement, oci::TarReader& content,
                            const oci::TarMember&) {
    oci::PendingEntry pending{entry, {}};
    if (entry.kind == oci::LayerEntry::Kind::node && entry.attributes.type == oci::FileType::regular &&
        entry.attributes.size > 0) {
      const std::uint64_t offset = spool.reserve(entry.attributes.size);
      std::vector<char> buffer(kChunkSize);
      for (std::uint64_t at = offset; const std::size_t got = content.read(buffer); at += got) {
        spool.write(at, {buffer.data(), got});
      }
      pending.open = spool.opener(offset, entry.attributes.size);
    }
    entries.push_back(std::move(pending));
  });
  oci::WriteLayerOptions options;
  options.tar.clamp_mtime = epoch;
  options.compute_content = true;
  options.stop = stop;
  return oci::write_layer(entries, how, host.blobs, &host.pool, options);
}

}  // namespace

Snapshot clamp_layers(const Snapshot& snapshot, std::int64_t epoch, const Compression& how, Host& host,
                      const std::stop_token& stop) {
  Snapshot out = snapshot;
  out.chain.reset();
  for (std::size_t i = 0; i < out.layers.size(); ++i) {
    oci::LayerBlob& layer = out.layers[i];
    if (i >= snapshot.inherited && has_later_time(*host.indexes.get(layer), epoch)) {
      oci::WrittenLayer written = rewrite_layer(layer, epoch, how, host, stop);
      host.indexes.put(written.layer.diff_id, std::move(written.index));
      layer = written.layer;
    }
    out.chain = oci::chain(out.chain, layer.diff_id);
  }
  return out;
}

oci::Image assemble_image(const Plan& plan, const StageResult& target, const SecretStore& secrets,
                          oci::BlobStore& blobs) {
  oci::ImageConfig config = plan.stages.at(plan.target).config;
  config.history = target.history;
  config.created.reset();
  for (const auto& entry : config.history) {
    if (entry.created) config.created = entry.created;
  }
  if (plan.source_date_epoch) config.created = Timestamp{*plan.source_date_epoch, 0};
  config.diff_ids.clear();
  for (const auto& layer : target.snapshot.layers) config.diff_ids.push_back(layer.diff_id);
  if (!history_fits(config.history, config.diff_ids.size())) config.history.clear();
  require_no_secrets(config, secrets);
  return oci::write_image(blobs, config, target.snapshot.layers);
}

}  // namespace imgbuild::builder
