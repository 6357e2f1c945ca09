#pragma once

#include <functional>
#include <string>
#include <vector>

#include "builder/event.h"
#include "builder/layer_indexes.h"
#include "cache/cache_store.h"
#include "oci/layer_entry.h"

namespace imgbuild::builder {

/// Fields of a record's inputs that are no part of the key, but help to explain: they begin with this.
inline constexpr std::string_view kNotePrefix = "note ";

/// What a missed step is compared with its earlier records by. Borrowed for one call.
struct MissQuestion {
  const Missed& missed;
  const std::vector<cache::KeyField>& inputs;  ///< of the key, and notes
  /// What a COPY puts into its layer, for naming files when there were too many to name each in the key. May
  /// be empty.
  std::function<std::vector<oci::PendingEntry>()> entries;
  bool modes_as_found = true;  ///< --context-modes=disk: a miss by mode bits alone could be avoided
};

/// Says why: what changed against the nearest earlier record of the same place in the Dockerfile (the one
/// with the fewest differences, of its own line or of a neighbouring one, since lines get inserted). Never
/// throws for what is missing or damaged in the store: then the explanation is poorer.
Explained explain_miss(const MissQuestion& question, cache::CacheStore& records, LayerIndexes& indexes);

}  // namespace imgbuild::builder
