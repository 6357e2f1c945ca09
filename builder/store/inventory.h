#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/digest.h"
#include "base/use_log.h"
#include "oci/image_store.h"

namespace imgbuild::builder {

/// What a thing in the store is, as `imgbuild du` groups it.
enum class ItemKind {
  layer,        ///< the blob of a layer
  document,     ///< the blob of a manifest, index or config, or of nobody knows what
  record,       ///< a cache record
  layer_index,  ///< what a layer contains
  extracted,    ///< a layer as directories for RUN, or the bytes of its files
  pieces,       ///< where parts of a compressed layer stand, for the next one
  cache_mount,  ///< RUN --mount=type=cache
  name,         ///< of an image
  work,         ///< what builds are making
  damaged,      ///< set aside
  leftover,     ///< belongs to nothing: trash, unfinished files, names nobody knows
  bookkeeping,  ///< format, locks, memos, slots, directories
};

std::string_view kind_name(ItemKind kind) noexcept;

/// One thing in the store.
struct StoreItem {
  ItemKind kind = ItemKind::leftover;
  std::string path;              ///< below the store
  std::optional<Digest> digest;  ///< of the blob; key, diff ID, chain ID, hash of the name
  std::uint64_t disk_bytes = 0;  ///< as du(1) counts
  bool named = false;            ///< an image with a name needs it
  bool pulled = false;           ///< only images that were pulled as a base need it, if `named`
  std::size_t records = 0;       ///< how many cache records need it
  bool in_use = false;           ///< a living process holds it
  std::uint64_t order = 0;       ///< of its last use (UseLog); 0: not known
  std::int64_t last_used = 0;    ///< seconds since 1970
  std::string what;              ///< for people: the step, the image
};

/// What a record keeps in the store.
struct RecordLinks {
  std::size_t item = 0;  ///< of the record itself
  std::uint64_t inode = 0;
  Digest blob, diff_id, chain;
};

/// Everything in a store and what refers to what. A snapshot: builds may go on meanwhile.
struct Inventory {
  std::vector<StoreItem> items;
  std::vector<RecordLinks> records;
  std::unordered_map<Digest, std::size_t> blobs, indexes, extracted, contents,
      pieces;  ///< into `items`, by digest, diff ID, chain ID twice, digest of the layer
  std::uint64_t total_bytes = 0;

  /// Needed by nothing and used by nobody.
  bool is_garbage(const StoreItem& item) const noexcept;
};

/// Blobs, diff IDs and chain IDs that images need.
struct Reach {
  std::unordered_set<Digest> blobs, diff_ids, chains;
};

/// Reads the whole store at `root` (a descriptor). Throws SystemError.
Inventory take_inventory(int root);

/// What the image `target` needs of a store, as far as its documents are there. Never throws for damaged
/// ones.
void add_reach(int root, const oci::Descriptor& target, Reach& reach);

}  // namespace imgbuild::builder
