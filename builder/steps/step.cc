#include "builder/steps/step.h"

#include "base/strings.h"

namespace imgbuild::builder {

Timestamp step_time(const StepContext& context) {
  return context.epoch ? Timestamp{*context.epoch, 0} : context.host.clock();
}

std::string step_name(const StepContext& context) {
  return cat(context.stage.display_name, ": ", context.step.title);
}

std::string step_slot(const StepContext& context) {
  return cat(context.stage.display_name, " ", context.step.history);
}

std::optional<cache::CacheRecord> find_hit(const StepContext& context, const cache::CacheKey& key, bool independent) {
  if (!context.use_cache || context.before.forced) return std::nullopt;
  auto record = context.host.cache.find_record(key.digest());
  if (!record) return std::nullopt;
  const auto below = context.before.chain ? std::optional(context.before.chain->value) : std::nullopt;
  // The key names the steps below, the chain what they actually made: a step below that ran again and made
  // something else must not get this layer on top.
  if (!independent && record->parent_chain != below) return std::nullopt;
  if (!context.host.blobs.find_blob(record->layer.blob.digest)) return std::nullopt;
  return record;
}

StepOutcome outcome_of_hit(const StepContext& context, const cache::CacheKey& key, const cache::CacheRecord& record) {
  return {context.before.with(record.layer, key.digest(), false), record.created, StepFinished::How::cached};
}

StepOutcome store_layer(const StepContext& context, const cache::CacheKey& key,
                        const std::vector<oci::PendingEntry>& entries, bool independent,
                        const std::function<void(const oci::LayerBlob&, const oci::ChainId&)>& before_record) {
  oci::WriteLayerOptions options;
  options.tar.clamp_mtime = context.epoch;
  // So that COPY --from of this layer's files needs no second look at their bytes (CAC-26).
  options.compute_content = true;
  const oci::WrittenLayer written =
      oci::write_layer(entries, context.request.compression, context.host.blobs, &context.host.pool, options);
  context.host.indexes.put(written.layer.diff_id, written.index);

  const bool forced = context.before.forced || !context.use_cache;
  StepOutcome outcome{context.before.with(written.layer, key.digest(), forced), step_time(context),
                      StepFinished::How::ran};
  if (before_record) before_record(written.layer, *outcome.after.chain);

  cache::CacheRecord record{.key = key.digest(),
                            .layer = written.layer,
                            .parent_chain = std::nullopt,
                            .created = outcome.created,
                            .inputs = key.fields(),
                            .step = step_name(context),
                            .slot = step_slot(context)};
  if (!independent && context.before.chain) record.parent_chain = context.before.chain->value;
  context.host.cache.put_record(record);
  return outcome;
}

}  // namespace imgbuild::builder
