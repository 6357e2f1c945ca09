#pragma once

#include <functional>
#include <memory>
#include <stop_token>

#include "builder/build.h"
#include "builder/part_times.h"
#include "builder/pending_layer.h"
#include "builder/plan.h"
#include "builder/snapshot.h"
#include "builder/source_tree.h"
#include "cache/cache_key.h"
#include "cache/cache_store.h"
#include "oci/layer_writer.h"

namespace imgbuild::builder {

/// Opens what steps read from: contexts, finished stages, images. Thread-safe.
class Origins {
 public:
  virtual ~Origins() = default;
  virtual std::shared_ptr<SourceTree> tree(const Origin& origin) = 0;
  /// The snapshot behind a stage, an image or scratch; nothing for contexts, which are no stack of layers.
  virtual std::optional<Snapshot> snapshot(const Origin& origin) = 0;
  /// `origin` for people: "docker.io/library/alpine:3 sha256:…", "stage build".
  virtual std::string describe(const Origin& origin) = 0;
};

/// Everything one step needs to decide and to run. Borrowed for the duration of the step.
struct StepContext {
  const BuildRequest& request;
  Host& host;
  Origins& origins;
  EventSink& events;
  const PlannedStage& stage;
  const PlanStep& step;
  StepId id = 0;
  const Below& before;
  bool use_cache = true;              ///< false: --no-cache for this stage
  std::optional<std::int64_t> epoch;  ///< SOURCE_DATE_EPOCH
  PartTimes& times;
  std::stop_token stop;  ///< for the layer; the same as the step's own
  /// Tells that the next step may start on a layer that is still to be written; null when it would not.
  /// Called at most once, and whoever calls it writes that layer whatever becomes of other steps: until
  /// `build_stop`.
  std::function<void(std::shared_ptr<const PendingLayer>)> go_ahead = {};
  std::stop_token build_stop = {};
};

struct StepOutcome {
  Snapshot after;
  Timestamp created;  ///< for the history entry
  StepFinished::How how = StepFinished::How::ran;
  std::optional<ResourceUse> used = std::nullopt;  ///< of a command that ran
  std::uint64_t reused_bytes = 0;                  ///< of the layer, compressed, taken from an earlier one
};

/// When this step happens, as images shall record it: the epoch if one is set, else the clock.
Timestamp step_time(const StepContext& context);

/// Variables of a RUN that are build arguments, and what a COPY would put into its layer; for explaining
/// misses.
struct MissHints {
  std::vector<std::string> arguments;
  std::function<std::vector<oci::PendingEntry>()> entries;
};

/// Names the place of the step in its Dockerfile (CacheRecord::slot).
std::string step_slot(const StepContext& context);

/// Whether one of the latest records of this place is of the same instruction on the same steps. Only then is
/// it likely that the step's key is known; other files have other instructions at the same place.
bool same_step_was_recorded(const StepContext& context);

/// A step whose key is known.
struct StepToMake {
  const StepContext& context;
  const cache::CacheKey& key;
  const MissHints* hints = nullptr;  ///< for its Missed, which is published; null: no miss is published
  bool independent = false;          ///< what is below it does not matter (COPY --link)
};

/// What the step leads to: the record of its key, if that can be used on top of `context.before` (same layers
/// below, layer still stored, caching not switched off and nothing below forced), or else what `make` makes,
/// which may take long. Of all builds that want the same at once one makes it, and the others wait for its
/// record (STO-23): when it is killed another one takes over, and when it fails each makes it for itself,
/// since its users want to see why. A miss is published, and explained when the request asks for that. Throws
/// what `make` throws, and Cancelled.
StepOutcome hit_or_make(const StepToMake& wanted, std::stop_token stop,
                        const std::function<StepOutcome()>& make);

/// The right to make a layer before the key of its step is known; `outline` is what all keys of such a step
/// have in common. Taken before any claim of hit_or_make(), and held until the record is written, so that
/// whoever waited finds one. Nothing where there is no store to share.
std::optional<WorkClaim> claim_outline(const StepContext& context, const cache::CacheKey& outline,
                                       const std::stop_token& stop);

StepOutcome outcome_of_hit(const StepContext& context, const cache::CacheKey& key,
                           const cache::CacheRecord& record);

/// Records what `key` led to.
void put_record(const StepContext& context, const cache::CacheKey& key, const StepOutcome& outcome,
                bool independent);

/// Writes `entries` as the layer of this step and keeps its index.
oci::WrittenLayer write_step_layer(const StepContext& context, const std::vector<oci::PendingEntry>& entries);

/// What runs between the layer and its record (a RUN commits its snapshot there).
using BeforeRecord = std::function<void(const oci::LayerBlob&, const oci::ChainId&)>;

/// Lets the next step start on the files of `snapshot`, whose diff is `entries`, before their layer is
/// written: if the next one can do that, the layer takes long enough, and the directory shows what the layer
/// will say. `unmounted` returns when no mount uses the snapshot's directories any more. Returns whether it
/// did; the layer must be written then (StepContext::go_ahead).
bool start_next_step(const StepContext& context, const cache::CacheKey& key,
                     const std::vector<oci::PendingEntry>& entries, WritableSnapshot& snapshot,
                     const std::function<void()>& unmounted);

/// The outcome of a step that made the layer `written`, and its record, which is written last.
StepOutcome record_layer(const StepContext& context, const cache::CacheKey& key,
                         const oci::WrittenLayer& written, bool independent,
                         const BeforeRecord& before_record = {});

/// write_step_layer() and record_layer().
StepOutcome store_layer(const StepContext& context, const cache::CacheKey& key,
                        const std::vector<oci::PendingEntry>& entries, bool independent,
                        const BeforeRecord& before_record = {});

StepOutcome run_copy(const StepContext& context, const CopyOp& op, std::stop_token stop);
StepOutcome run_workdir(const StepContext& context, const WorkdirOp& op, std::stop_token stop);
StepOutcome run_command(const StepContext& context, const RunOp& op, std::stop_token stop);

}  // namespace imgbuild::builder
