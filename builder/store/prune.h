#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <stop_token>
#include <vector>

#include "base/timestamp.h"
#include "builder/store/inventory.h"
#include "builder/store/store_root.h"

namespace imgbuild::builder {

struct PruneRequest {
  /// Also what images with names need, as long as it can be made or pulled again: their records and extracted
  /// layers, and base images that were pulled.
  bool all = false;
  /// Stop as soon as the store takes no more than this; nothing: remove all that qualifies.
  std::optional<std::uint64_t> keep_bytes;
  /// Only what was last used before this second.
  std::optional<std::int64_t> used_before;
  /// Only these kinds; empty: all. A record takes the layer along that only it needs.
  std::set<ItemKind> kinds;
  bool dry_run = false;
  /// False: give up when somebody else is removing already, instead of waiting.
  bool wait = true;
  /// Free this much and stop; nothing: see above.
  std::optional<std::uint64_t> must_free_bytes = {};
  /// This process builds: unfinished files may be its own and stay.
  bool from_build = false;
};

struct PruneResult {
  std::vector<StoreItem> removed;  ///< in the order of removal
  std::uint64_t freed_bytes = 0;
  std::uint64_t left_bytes = 0;  ///< what the store takes now
  bool ran = true;               ///< false: somebody else was removing
};

/// Removes the least valuable things of a store: first what belongs to nothing, then what can be made again
/// without running anything, then what was not used for the longest time. Never a name the user gave, never
/// what a running build holds (STO-21, STO-22). Safe beside any number of builds and prunes; what is
/// interrupted goes on with the next one. `store` is this process's session: what it holds itself stays, too.
/// Throws SystemError, Cancelled.
PruneResult prune_store(StoreRoot& store, const PruneRequest& request, std::stop_token stop = {});

}  // namespace imgbuild::builder
