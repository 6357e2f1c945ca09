#include "builder/steps/step.h"

#include "base/error.h"
#include "base/hash.h"
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

namespace {

/// Where the record of a layer whose times were clamped to `epoch` lies. Keys of steps do not hold the epoch,
/// so that setting one does not run everything again (cases CK-77, CK-78); layers clamped to another epoch
/// must not be met, or a warm build would differ from a cold one (REP-6).
Digest record_key(const cache::CacheKey& key, const std::optional<std::int64_t>& epoch) {
  return epoch ? sha256(cat("clamped layer\n", key.digest().str(), "\n", *epoch)) : key.digest();
}

bool usable(const StepContext& context, const cache::CacheRecord& record, bool independent) {
  const auto below = context.before.chain ? std::optional(context.before.chain->value) : std::nullopt;
  // The key names the steps below, the chain what they actually made: a step below that ran again and made
  // something else must not get this layer on top.
  if (!independent && record.parent_chain != below) return false;
  return context.host.blobs.find_blob(record.layer.blob.digest) == record.layer.blob.size;
}

bool may_hit(const StepContext& context) { return context.use_cache && !context.before.forced; }

/// Nothing where there is no store to share.
std::optional<KeyLock> claim_step(const StepContext& context, const cache::CacheKey& key, bool independent,
                                  const std::stop_token& stop) {
  const std::string below = !independent && context.before.chain ? context.before.chain->value.str() : "";
  const Digest wanted = sha256(cat("step\n", record_key(key, context.epoch).str(), "\n", below));
  LockWait wait{.stop = stop};
  wait.on_long = [&context](pid_t owner) {
    context.events.on_event(Waiting{context.id, "the same step in another build", owner});
  };
  return context.host.store.claim("steps", wanted, wait);
}

/// Compares with the latest record of the same place in the file: that is what the user has in mind.
void explain_miss(const StepContext& context, const cache::CacheKey& key) {
  const auto say = [&](std::string text) { context.events.on_event(Explained{context.id, std::move(text)}); };
  if (!context.use_cache) return say("caching is switched off");
  if (context.before.forced) return say("a step before it was run again");
  const auto earlier = context.host.cache.find_by_slot(step_slot(context));
  if (earlier.empty()) return say("no earlier build of this step is known");
  const auto differences = cache::explain_difference(earlier.back().inputs, key.fields());
  if (differences.empty()) return say("the layers below it are others, or its layer is no longer stored");
  for (const auto& difference : differences) say(difference);
}

}  // namespace

std::optional<cache::CacheRecord> find_hit(const StepContext& context, const cache::CacheKey& key,
                                           bool independent) {
  if (may_hit(context)) {
    for (const Digest& place : {record_key(key, context.epoch), key.digest()}) {
      auto record = context.host.cache.find_record(place);
      if (record && usable(context, *record, independent)) return record;
      if (!context.epoch) break;
    }
  }
  return std::nullopt;
}

StepOutcome hit_or_make(const StepContext& context, const cache::CacheKey& key, bool independent,
                        std::stop_token stop, const std::function<StepOutcome()>& make) {
  if (const auto record = find_hit(context, key, independent)) return outcome_of_hit(context, key, *record);
  std::optional<KeyLock> claim;
  if (may_hit(context)) {
    claim = claim_step(context, key, independent, stop);
    // It may have been made between the first look and the lock.
    if (const auto record = find_hit(context, key, independent)) return outcome_of_hit(context, key, *record);
    if (claim && claim->owner_failed()) claim.reset();
  }
  if (stop.stop_requested()) throw Cancelled();
  if (context.request.explain) explain_miss(context, key);
  try {
    return make();
  } catch (const Cancelled&) {
    throw;  // nothing is known about the step: whoever waits takes over
  } catch (...) {
    if (claim) claim->fail();
    throw;
  }
}

StepOutcome outcome_of_hit(const StepContext& context, const cache::CacheKey& key,
                           const cache::CacheRecord& record) {
  return {context.before.with(record.layer, key.digest(), false), record.created, StepFinished::How::cached};
}

void put_record(const StepContext& context, const cache::CacheKey& key, const StepOutcome& outcome,
                bool independent) {
  cache::CacheRecord record{.key = record_key(key, context.epoch),
                            .layer = outcome.after.layers.back(),
                            .parent_chain = std::nullopt,
                            .created = outcome.created,
                            .inputs = key.fields(),
                            .step = step_name(context),
                            .slot = step_slot(context)};
  if (!independent && context.before.chain) record.parent_chain = context.before.chain->value;
  context.host.cache.put_record(record);
}

StepOutcome store_layer(
    const StepContext& context, const cache::CacheKey& key, const std::vector<oci::PendingEntry>& entries,
    bool independent, const std::function<void(const oci::LayerBlob&, const oci::ChainId&)>& before_record) {
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

  put_record(context, key, outcome, independent);
  return outcome;
}

}  // namespace imgbuild::builder
