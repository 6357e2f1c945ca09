#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/store_dir.h"
#include "base/timestamp.h"
#include "cache/cache_key.h"
#include "oci/descriptor.h"

namespace imgbuild {
class UseLog;
}

namespace imgbuild::cache {

/// What a key led to. Written last, when everything it names exists.
struct CacheRecord {
  Digest key;
  oci::LayerBlob layer;                ///< the layer the step made
  std::optional<Digest> parent_chain;  ///< chain ID of the layers it was made on; nothing: scratch
  Timestamp created;                   ///< history time of the step, reused on a hit (IMG-36)
  std::vector<KeyField> inputs;        ///< named inputs, for explaining a later miss
  std::string step;                    ///< where it came from: stage and instruction, for people
  /// Names the place in a Dockerfile, so that a miss can be compared with what stood there before: stage
  /// name, position of the instruction, target platform. Empty: the record is not found that way.
  std::string slot = {};
};

/// Cache records by key (STO-1). A record that cannot be read is a record that is not there. Thread- and
/// process-safe: publication is one rename.
class CacheStore {
 public:
  virtual ~CacheStore() = default;
  virtual std::optional<CacheRecord> find_record(const Digest& key) = 0;
  virtual void put_record(const CacheRecord& record) = 0;
  /// The latest records put under `slot`, oldest first, for explaining misses. Never a reason to use a layer.
  virtual std::vector<CacheRecord> find_by_slot(const std::string& slot) {
    (void)slot;
    return {};
  }
};

/// The records below `cache/` of the store. `uses` is told which records are found and put (borrowed).
/// Thread- and process-safe. put_record() throws SystemError when the disk does not take it. Format:
/// docs/formats/cache-record.md. Throws SystemError when the directory cannot be made.
std::unique_ptr<CacheStore> open_cache_store(const StoreDir& store, UseLog* uses = nullptr);

}  // namespace imgbuild::cache
