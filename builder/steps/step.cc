#include "builder/steps/step.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "builder/explain_miss.h"
#include "builder/layer_pieces.h"

namespace imgbuild::builder {

Timestamp step_time(const StepContext& context) {
  return context.epoch ? Timestamp{*context.epoch, 0} : context.host.clock();
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

/// For people, and for finding the record of the same place in the file again (CacheRecord::slot).
std::string step_name(const StepContext& context) {
  return cat(context.stage.display_name, ": ", context.step.title);
}

/// Lines get inserted and removed, so what stood here may have stood a line or two away.
std::vector<std::string> step_slots(const StepContext& context) {
  std::vector<std::string> slots;
  const std::size_t here = context.step.history;
  for (const std::size_t at : {here, here - 1, here + 1, here - 2, here + 2}) {
    if (at <= here + 2) slots.push_back(cat(context.stage.display_name, " ", at));  // not below zero
  }
  return slots;
}

/// The step before this one in its stage; null for the first, and for the copy of a context that is a base,
/// which is none of the stage's steps.
const PlanStep* step_before(const StepContext& context) {
  const auto& steps = context.stage.steps;
  for (std::size_t i = 1; i < steps.size(); ++i) {
    if (&steps[i] == &context.step) return &steps[i - 1];
  }
  return nullptr;
}

/// The inputs of the key, and what helps to explain a miss.
std::vector<cache::KeyField> noted_inputs(const StepContext& context, const cache::CacheKey& key) {
  auto inputs = key.fields();
  if (step_before(context) == nullptr)
    inputs.push_back({cat(kNotePrefix, "base"), context.origins.describe(context.stage.base)});
  return inputs;
}

bool usable(const StepContext& context, const cache::CacheRecord& record, bool independent) {
  const auto& chain = context.before.snapshot().chain;
  const auto below = chain ? std::optional(chain->value) : std::nullopt;
  // The key names the steps below, the chain what they actually made: a step below that ran again and made
  // something else must not get this layer on top.
  if (!independent && record.parent_chain != below) return false;
  return context.host.blobs.find_blob(record.layer.blob.digest) == record.layer.blob.size;
}

/// The parent that a record's key was made with; empty for scratch.
std::string parent_of(const cache::CacheRecord& record) {
  for (const auto& field : record.inputs) {
    if (field.label == "parent") return field.value;
  }
  return {};
}

void publish_miss(const StepContext& context, const cache::CacheKey& key, const MissHints& hints,
                  std::string note) {
  Missed missed{.step = context.id,
                .key = record_key(key, context.epoch),
                .slots = step_slots(context),
                .parent = {},
                .arguments = hints.arguments,
                .note = std::move(note)};
  if (const PlanStep* before = step_before(context))
    missed.parent = cat("line ", before->where.first_line, ": ", before->title);
  if (context.request.explain) {
    const auto inputs = noted_inputs(context, key);
    context.events.on_event(explain_miss({.missed = missed,
                                          .inputs = inputs,
                                          .entries = hints.entries,
                                          .modes_as_found = !context.request.git_modes},
                                         context.host.cache, context.host.indexes));
  }
  context.events.on_event(missed);
}

/// `why_not` is left alone when there is no record.
std::optional<cache::CacheRecord> find_usable(const StepContext& context, const cache::CacheKey& key,
                                              bool independent, std::string& why_not) {
  if (!context.use_cache) {
    why_not = "caching is switched off";
    return std::nullopt;
  }
  if (context.before.forced()) {
    why_not = "a step before it was run again without the cache";
    return std::nullopt;
  }
  for (const Digest& place : {record_key(key, context.epoch), key.digest()}) {
    auto record = context.host.cache.find_record(place);
    if (record && usable(context, *record, independent)) return record;
    if (record) {
      why_not = context.host.blobs.find_blob(record->layer.blob.digest)
                    ? "a step before it ran again and made something else"
                    : "its layer is no longer in the store";
    }
    if (!context.epoch) break;
  }
  return std::nullopt;
}

/// Nothing where there is no store to share. `kind`: of StoreDir::claim(). The layers below are no part of
/// what is claimed, as they may not be known yet: two builds with the same key on different layers, which is
/// rare, go one after the other.
std::optional<WorkClaim> claim_key(const StepContext& context, const char* kind, const cache::CacheKey& key,
                                   const std::stop_token& stop) {
  const Digest work = sha256(cat("step\n", record_key(key, context.epoch).str()));
  LockWait wait{.stop = stop};
  wait.on_long = [&context](pid_t owner) {
    context.events.on_event(Waiting{context.id, "the same step in another build", owner});
  };
  return context.host.store.claim(kind, work, wait);
}

}  // namespace

std::optional<WorkClaim> claim_outline(const StepContext& context, const cache::CacheKey& outline,
                                       const std::stop_token& stop) {
  return claim_key(context, "outlines", outline, stop);
}

bool same_step_was_recorded(const StepContext& context) {
  const std::string name = step_name(context);
  const std::string parent = context.before.key().str();
  const auto records = context.host.cache.find_by_slot(step_slot(context));
  return std::any_of(records.begin(), records.end(), [&](const cache::CacheRecord& record) {
    return record.step == name && parent_of(record) == parent;
  });
}

StepOutcome hit_or_make(const StepToMake& wanted, std::stop_token stop,
                        const std::function<StepOutcome()>& make) {
  const StepContext& context = wanted.context;
  std::string why_not;
  const auto find = [&] { return find_usable(context, wanted.key, wanted.independent, why_not); };
  if (const auto record = find()) return outcome_of_hit(context, wanted.key, *record);
  std::optional<WorkClaim> claim;
  if (context.use_cache && !context.before.forced()) {
    claim = claim_key(context, "steps", wanted.key, stop);
    // It may have been made between the first look and the lock.
    why_not.clear();
    if (const auto record = find()) return outcome_of_hit(context, wanted.key, *record);
    if (claim && claim->owner_failed()) claim.reset();
  }
  if (stop.stop_requested()) throw Cancelled();
  if (wanted.hints != nullptr) publish_miss(context, wanted.key, *wanted.hints, std::move(why_not));
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
  return {context.before.snapshot().with(record.layer, key.digest(), false), record.created,
          StepFinished::How::cached};
}

void put_record(const StepContext& context, const cache::CacheKey& key, const StepOutcome& outcome,
                bool independent) {
  cache::CacheRecord record{.key = record_key(key, context.epoch),
                            .layer = outcome.after.layers.back(),
                            .parent_chain = std::nullopt,
                            .created = outcome.created,
                            .inputs = noted_inputs(context, key),
                            .step = step_name(context),
                            .slot = step_slot(context)};
  const auto& chain = context.before.snapshot().chain;
  if (!independent && chain) record.parent_chain = chain->value;
  context.host.cache.put_record(record);
}

namespace {

/// Below this no layer is worth a look at an earlier one.
constexpr std::uint64_t kWorthReusing = 1 << 20;

// With less to write than both of these, the next step had better wait: it takes a few milliseconds.
constexpr std::uint64_t kLongContent = 1 << 20;
constexpr std::size_t kManyEntries = 1000;

bool is_forced(const StepContext& context) { return context.before.forced() || !context.use_cache; }

/// Compressed pieces of the layer that the same instruction at the same place in the file made last time, or
/// else any other instruction there.
LayerPieces earlier_pieces(const StepContext& context) {
  const auto earlier = context.host.cache.find_by_slot(step_slot(context));
  if (earlier.empty()) return {};
  const std::string name = step_name(context);
  auto found = std::find_if(earlier.rbegin(), earlier.rend(),
                            [&](const cache::CacheRecord& record) { return record.step == name; });
  if (found == earlier.rend()) found = earlier.rbegin();
  return LayerPieces::open(context.host.store, context.host.blobs, found->layer.blob.digest,
                           context.request.compression);
}

}  // namespace

bool start_next_step(const StepContext& context, const cache::CacheKey& key,
                     const std::vector<oci::PendingEntry>& entries, WritableSnapshot& snapshot,
                     const std::function<void()>& unmounted) {
  if (!context.go_ahead) return false;
  if (entries.size() < kManyEntries && content_bytes(entries) < kLongContent) return false;
  const PartTimer timer(context.times, PartTimes::Part::publish);
  unmounted();
  auto files = snapshot.freeze();
  if (!files) return false;
  auto index = oci::index_before_writing(entries, {.clamp_mtime = context.epoch});
  context.go_ahead(std::make_shared<const PendingLayer>(context.before, key.digest(), is_forced(context),
                                                        std::move(index), std::move(files)));
  return true;
}

oci::WrittenLayer write_step_layer(const StepContext& context,
                                   const std::vector<oci::PendingEntry>& entries) {
  const Host& host = context.host;
  oci::WriteLayerOptions options;
  options.tar.clamp_mtime = context.epoch;
  // So that COPY --from of this layer's files needs no second look at their bytes (CAC-26).
  options.compute_content = true;
  options.stop = context.stop;
  const bool reuse = host.store.fd() >= 0 && content_bytes(entries) >= kWorthReusing;
  const LayerPieces pieces = reuse ? earlier_pieces(context) : LayerPieces();
  if (reuse) options.pieces = &pieces;
  const Compression& how = context.request.compression;
  oci::WrittenLayer written = timed(context.times, PartTimes::Part::layer, [&] {
    return oci::write_layer(entries, how, host.blobs, &host.pool, options);
  });
  const PartTimer timer(context.times, PartTimes::Part::publish);
  if (!written.packed.pieces.empty())
    save_layer_pieces(host.store, written.layer.blob.digest, how, written.packed.pieces);
  host.indexes.put(written.layer.diff_id, std::move(written.index));
  return written;
}

StepOutcome record_layer(const StepContext& context, const cache::CacheKey& key,
                         const oci::WrittenLayer& written, bool independent,
                         const BeforeRecord& before_record) {
  StepOutcome outcome{context.before.snapshot().with(written.layer, key.digest(), is_forced(context)),
                      step_time(context), StepFinished::How::ran};
  outcome.reused_bytes = written.packed.reused_bytes;
  if (before_record) before_record(written.layer, *outcome.after.chain);

  put_record(context, key, outcome, independent);
  return outcome;
}

StepOutcome store_layer(const StepContext& context, const cache::CacheKey& key,
                        const std::vector<oci::PendingEntry>& entries, bool independent,
                        const BeforeRecord& before_record) {
  return record_layer(context, key, write_step_layer(context, entries), independent, before_record);
}

}  // namespace imgbuild::builder
