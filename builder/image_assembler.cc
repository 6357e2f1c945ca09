#include "builder/image_assembler.h"

#include <algorithm>

namespace imgbuild::builder {

namespace {

/// A base without history cannot be told apart from the layers put on it, so the whole image does without (IMG-35).
bool history_fits(const std::vector<oci::HistoryEntry>& history, std::size_t layers) {
  const auto with_layer = std::count_if(history.begin(), history.end(), [](const auto& e) { return !e.empty_layer; });
  return static_cast<std::size_t>(with_layer) == layers;
}

}  // namespace

oci::Image assemble_image(const Plan& plan, const StageResult& target, oci::BlobStore& blobs) {
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
  return oci::write_image(blobs, config, target.snapshot.layers);
}

}  // namespace imgbuild::builder
