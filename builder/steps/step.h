#pragma once

#include <memory>
#include <stop_token>

#include "builder/build.h"
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
  const Snapshot& before;
  bool use_cache = true;              ///< false: --no-cache for this stage
  std::optional<std::int64_t> epoch;  ///< SOURCE_DATE_EPOCH
};

struct StepOutcome {
  Snapshot after;
  Timestamp created;  ///< for the history entry
  StepFinished::How how = StepFinished::How::ran;
  std::optional<ResourceUse> used = std::nullopt;  ///< of a command that ran
};

/// When this step happens, as images shall record it: the epoch if one is set, else the clock.
Timestamp step_time(const StepContext& context);

/// For people, and for finding the record of the same place in the file again (CacheRecord::slot).
std::string step_name(const StepContext& context);
std::string step_slot(const StepContext& context);

/// The record `key` led to, if it can be used on top of `context.before`: same layers below (unless
/// `independent`, for COPY --link), layer still stored, caching not switched off and nothing below forced.
std::optional<cache::CacheRecord> find_hit(const StepContext& context, const cache::CacheKey& key,
                                           bool independent);
/// What the step leads to: the usable record of `key`, or else what `make` makes, which may take long. Of
/// all builds that want the same at once one makes it, and the others wait for its record (STO-23): when it
/// is killed another one takes over, and when it fails each makes it for itself, since its users want to see
/// why. Throws what `make` throws, and Cancelled.
StepOutcome hit_or_make(const StepContext& context, const cache::CacheKey& key, bool independent,
                        std::stop_token stop, const std::function<StepOutcome()>& make);

StepOutcome outcome_of_hit(const StepContext& context, const cache::CacheKey& key,
                           const cache::CacheRecord& record);

/// Records what `key` led to.
void put_record(const StepContext& context, const cache::CacheKey& key, const StepOutcome& outcome,
                bool independent);

/// Writes `entries` as the layer of this step and its record. The record is written last. `before_record`
/// runs between the two with the written layer (a RUN commits its snapshot there).
StepOutcome store_layer(
    const StepContext& context, const cache::CacheKey& key, const std::vector<oci::PendingEntry>& entries,
    bool independent,
    const std::function<void(const oci::LayerBlob&, const oci::ChainId&)>& before_record = {});

StepOutcome run_copy(const StepContext& context, const CopyOp& op, std::stop_token stop);
StepOutcome run_workdir(const StepContext& context, const WorkdirOp& op, std::stop_token stop);
StepOutcome run_command(const StepContext& context, const RunOp& op, std::stop_token stop);

}  // namespace imgbuild::builder
