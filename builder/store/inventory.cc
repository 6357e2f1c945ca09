#include "builder/store/inventory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/dir_list.h"
#include "base/error.h"
#include "base/file_lock.h"
#include "base/hash.h"
#include "base/key_locks.h"
#include "base/store_dir.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "builder/cache_mounts.h"
#include "cache/record_files.h"
#include "oci/disk_image_store.h"
#include "oci/image_config.h"
#include "oci/manifest.h"
#include "oci/media_type.h"

namespace imgbuild::builder {

namespace {

constexpr std::uint64_t kMaxDocument = 8u << 20;
constexpr int kMaxDepth = 4;

std::optional<Digest> digest_of(std::string_view hex) {
  if (hex.size() != 64) return std::nullopt;
  try {
    return Digest::parse(cat("sha256:", hex));
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// Nothing when it is not there or not what its digest says.
std::optional<std::string> read_document(int root, const Digest& digest) {
  const UniqueFd file = open_at_if_exists(root, cat("blobs/sha256/", digest.hex()), O_RDONLY | O_NONBLOCK);
  if (!file) return std::nullopt;
  try {
    std::string bytes = read_file(file.get(), kMaxDocument, "document");
    if (sha256(bytes) != digest) return std::nullopt;
    return bytes;
  } catch (const Error&) {
    return std::nullopt;
  }
}

void reach_manifest(int root, const oci::Manifest& manifest, Reach& reach) {
  reach.blobs.insert(manifest.config.digest);
  for (const auto& layer : manifest.layers) reach.blobs.insert(layer.digest);
  const auto config = read_document(root, manifest.config.digest);
  if (!config) return;
  std::optional<oci::ChainId> chain;
  for (const auto& diff_id : oci::ImageConfig::parse(*config).diff_ids) {
    chain = oci::chain(chain, diff_id);
    reach.diff_ids.insert(diff_id.value);
    reach.chains.insert(chain->value);
  }
}

void reach_from(int root, const oci::Descriptor& target, int depth, Reach& reach) {
  if (!reach.blobs.insert(target.digest).second || depth == kMaxDepth) return;
  const auto bytes = read_document(root, target.digest);
  if (!bytes) return;
  if (oci::is_index_type(target.media_type)) {
    for (const auto& child : oci::Index::parse(*bytes, target.media_type).manifests)
      reach_from(root, child, depth + 1, reach);
  } else if (oci::is_manifest_type(target.media_type)) {
    reach_manifest(root, oci::Manifest::parse(*bytes, target.media_type), reach);
  }
}

/// Takes the store apart, folder by folder. Every byte goes to exactly one item.
class Taker {
 public:
  explicit Taker(int root) : root_(root), uses_(UseLog::read(root)), locks_(find_locks(root)) {}

  Inventory take() {
    list_dir(root_, [&](const DirEntry& entry) { top_.insert(entry.name); });
    take_names();
    take_records();
    take_blobs();
    take_files("indexes", ItemKind::layer_index, inventory_.indexes);
    take_extracted("layers", inventory_.extracted);
    take_extracted("contents", inventory_.contents);
    take_mounts();
    take_files("pieces", ItemKind::pieces, inventory_.pieces);
    take_whole("work", ItemKind::work);
    take_whole("corrupt", ItemKind::damaged);
    take_whole("trash", ItemKind::leftover);
    for (const char* name :
         {"archives", "format", "probed", kReserveFile, "stat-memo", "stat-memo.recent", "uses"})
      take_file(name, ItemKind::bookkeeping);
    take_whole("locks", ItemKind::bookkeeping);
    take_whole("http", ItemKind::bookkeeping);
    take_whole("logs", ItemKind::bookkeeping);
    const auto rest = top_;
    for (const auto& name : rest) take_whole(name, ItemKind::leftover);
    add({.kind = ItemKind::bookkeeping, .path = ".", .disk_bytes = usage_.one(root_, ".")});
    connect();
    for (const auto& item : inventory_.items) inventory_.total_bytes += item.disk_bytes;
    return std::move(inventory_);
  }

 private:
  static std::optional<KeyLocks> find_locks(int root) {
    const UniqueFd locks = open_at_if_exists(root, "locks", O_RDONLY | O_DIRECTORY);
    return locks ? KeyLocks::open_existing(locks.get(), "store") : std::nullopt;
  }

  std::size_t add(StoreItem item) {
    if (item.digest) {
      const auto use = uses_.find(*item.digest);
      if (use != uses_.end()) {
        item.order = use->second.order;
        item.last_used = std::max(item.last_used, use->second.seconds);
      }
    }
    inventory_.items.push_back(std::move(item));
    return inventory_.items.size() - 1;
  }

  static std::int64_t modified(int dir, const std::string& name) {
    struct stat info {};
    return ::fstatat(dir, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 ? info.st_ctim.tv_sec : 0;
  }

  void take_whole(const std::string& name, ItemKind kind) {
    if (top_.erase(name) == 0) return;
    add({.kind = kind,
         .path = name,
         .disk_bytes = usage_.tree(root_, name),
         .last_used = modified(root_, name)});
  }

  void take_file(const std::string& name, ItemKind kind) {
    if (top_.erase(name) == 0) return;
    add({.kind = kind,
         .path = name,
         .disk_bytes = usage_.one(root_, name),
         .last_used = modified(root_, name)});
  }

  /// The folder itself; nothing when there is none.
  UniqueFd take_folder(const std::string& path) {
    top_.erase(path);
    UniqueFd dir = open_at_if_exists(root_, path, O_RDONLY | O_DIRECTORY);
    if (dir) add({.kind = ItemKind::bookkeeping, .path = path, .disk_bytes = usage_.one(root_, path)});
    return dir;
  }

  /// Something in a folder that has no business there; unfinished files of builds that run are among them.
  void take_stray(int dir, const std::string& folder, const std::string& name) {
    add({.kind = ItemKind::leftover,
         .path = cat(folder, "/", name),
         .disk_bytes = usage_.tree(dir, name),
         .last_used = modified(dir, name)});
  }

  void take_names() {
    const UniqueFd dir = take_folder("tags");
    if (!dir) return;
    std::unordered_map<std::string, oci::TaggedImage> known;
    for (auto& image : oci::DiskImageStore(root_).list()) {
      const std::string file = sha256(image.name.str()).hex();
      known.emplace(file, std::move(image));
    }
    list_dir(dir.get(), [&](const DirEntry& entry) {
      const auto found = known.find(entry.name);
      if (found == known.end()) return take_stray(dir.get(), "tags", entry.name);
      const auto& image = found->second;
      add({.kind = ItemKind::name,
           .path = cat("tags/", entry.name),
           .digest = digest_of(entry.name),
           .disk_bytes = usage_.one(dir.get(), entry.name),
           .named = true,
           .pulled = image.pulled,
           .last_used = image.updated.seconds,
           .what = image.name.familiar()});
      add_reach(root_, image.target, image.pulled ? pulled_ : named_);
    });
  }

  void take_records() {
    const UniqueFd dir = take_folder("cache");
    if (!dir) return;
    std::set<std::string> known;
    cache::list_record_files(root_, true, [&](const cache::RecordFile& file) {
      const auto record = cache::read_record_file(root_, file);
      if (!record) return;
      known.insert(file.path);
      const std::size_t item = add({.kind = ItemKind::record,
                                    .path = cat("cache/", file.path),
                                    .digest = record->key,
                                    .disk_bytes = file.disk_bytes,
                                    .last_used = file.modified,
                                    .what = record->step});
      const auto below =
          record->parent_chain ? std::optional(oci::ChainId{*record->parent_chain}) : std::nullopt;
      inventory_.records.push_back({.item = item,
                                    .inode = file.inode,
                                    .blob = record->layer.blob.digest,
                                    .diff_id = record->layer.diff_id.value,
                                    .chain = oci::chain(below, record->layer.diff_id).value});
    });
    take_rest_of_cache(dir.get(), known);
  }

  void take_rest_of_cache(int dir, const std::set<std::string>& known) {
    list_dir(dir, [&](const DirEntry& folder) {
      if (folder.name.size() != 2) {
        const bool slots = folder.name == "slots";
        add({.kind = slots ? ItemKind::bookkeeping : ItemKind::leftover,
             .path = cat("cache/", folder.name),
             .disk_bytes = usage_.tree(dir, folder.name)});
        return;
      }
      add({.kind = ItemKind::bookkeeping,
           .path = cat("cache/", folder.name),
           .disk_bytes = usage_.one(dir, folder.name)});
      const UniqueFd records = open_at_if_exists(dir, folder.name, O_RDONLY | O_DIRECTORY);
      if (!records) return;
      list_dir(records.get(), [&](const DirEntry& entry) {
        if (!known.contains(cat(folder.name, "/", entry.name)))
          take_stray(records.get(), cat("cache/", folder.name), entry.name);
      });
    });
  }

  void take_blobs() {
    const UniqueFd above = take_folder("blobs");
    const UniqueFd dir = above ? take_folder("blobs/sha256") : UniqueFd();
    if (!dir) return;
    list_dir(dir.get(), [&](const DirEntry& entry) {
      const auto digest = digest_of(entry.name);
      if (!digest) return take_stray(dir.get(), "blobs/sha256", entry.name);
      StoreItem item{.kind = ItemKind::document,
                     .path = cat("blobs/sha256/", entry.name),
                     .digest = digest,
                     .disk_bytes = usage_.one(dir.get(), entry.name),
                     .last_used = modified(dir.get(), entry.name)};
      item.in_use = locks_ && locks_->is_held_by_others(KeyLocks::key_of(*digest));
      inventory_.blobs.emplace(*digest, add(std::move(item)));
    });
    list_dir(above.get(), [&](const DirEntry& entry) {
      if (entry.name != "sha256") take_stray(above.get(), "blobs", entry.name);
    });
  }

  void take_files(const std::string& folder, ItemKind kind,
                  std::unordered_map<Digest, std::size_t>& by_digest) {
    const UniqueFd dir = take_folder(folder);
    if (!dir) return;
    list_dir(dir.get(), [&](const DirEntry& entry) {
      const auto digest = digest_of(entry.name);
      if (!digest) return take_stray(dir.get(), folder, entry.name);
      by_digest.emplace(*digest, add({.kind = kind,
                                      .path = cat(folder, "/", entry.name),
                                      .digest = digest,
                                      .disk_bytes = usage_.one(dir.get(), entry.name),
                                      .last_used = modified(dir.get(), entry.name)}));
    });
  }

  void take_extracted(const char* folder, std::unordered_map<Digest, std::size_t>& by_chain) {
    const UniqueFd dir = take_folder(folder);
    if (!dir) return;
    list_dir(dir.get(), [&](const DirEntry& entry) {
      const auto digest = digest_of(entry.name);
      if (!digest) return take_stray(dir.get(), folder, entry.name);
      StoreItem item{.kind = ItemKind::extracted,
                     .path = cat(folder, "/", entry.name),
                     .digest = digest,
                     .disk_bytes = usage_.tree(dir.get(), entry.name),
                     .last_used = modified(dir.get(), entry.name)};
      const UniqueFd layer = open_at_if_exists(dir.get(), entry.name, O_RDONLY | O_DIRECTORY);
      item.in_use = layer && is_locked(layer.get(), "meta");
      by_chain.emplace(*digest, add(std::move(item)));
    });
  }

  void take_mounts() {
    const UniqueFd dir = take_folder("mounts");
    if (!dir) return;
    const UniqueFd locks = open_at_if_exists(root_, "locks", O_RDONLY | O_DIRECTORY);
    list_dir(dir.get(), [&](const DirEntry& entry) {
      if (entry.name.starts_with(".")) return take_stray(dir.get(), "mounts", entry.name);
      StoreItem item{.kind = ItemKind::cache_mount,
                     .path = cat("mounts/", entry.name),
                     .digest = digest_of(entry.name.substr(0, 64)),
                     .disk_bytes = usage_.tree(dir.get(), entry.name),
                     .last_used = modified(dir.get(), entry.name)};
      item.in_use = locks && is_locked(locks.get(), cache_mount_lock(entry.name));
      add(std::move(item));
    });
  }

  /// Whether somebody holds a lock on `dir`/`name`, in any way.
  static bool is_locked(int dir, const std::string& name) {
    const UniqueFd file = open_at_if_exists(dir, name, O_RDONLY | O_NONBLOCK);
    if (!file) return false;
    struct flock request {};
    request.l_type = F_WRLCK;
    request.l_whence = SEEK_SET;
    return ::fcntl(file.get(), F_OFD_GETLK, &request) == 0 && request.l_type != F_UNLCK;
  }

  void connect() {
    const auto mark = [&](const auto& index, const std::unordered_set<Digest>& needed, bool pulled) {
      for (const Digest& digest : needed) {
        const auto found = index.find(digest);
        if (found == index.end()) continue;
        StoreItem& item = inventory_.items[found->second];
        item.pulled = pulled && (item.pulled || !item.named);
        item.named = true;
      }
    };
    for (const auto& [reach, pulled] : {std::pair(&pulled_, true), std::pair(&named_, false)}) {
      mark(inventory_.blobs, reach->blobs, pulled);
      mark(inventory_.indexes, reach->diff_ids, pulled);
      mark(inventory_.extracted, reach->chains, pulled);
      mark(inventory_.contents, reach->chains, pulled);
      mark(inventory_.pieces, reach->blobs, pulled);
    }
    for (const auto& record : inventory_.records) {
      const auto count = [&](const auto& index, const Digest& digest) {
        const auto found = index.find(digest);
        if (found != index.end()) ++inventory_.items[found->second].records;
      };
      count(inventory_.blobs, record.blob);
      count(inventory_.indexes, record.diff_id);
      count(inventory_.extracted, record.chain);
      count(inventory_.contents, record.chain);
      count(inventory_.pieces, record.blob);
      if (const auto blob = inventory_.blobs.find(record.blob); blob != inventory_.blobs.end())
        inventory_.items[blob->second].kind = ItemKind::layer;
    }
    // Layers of named images: everything named that is no document anybody can read.
    for (const auto& [digest, at] : inventory_.blobs) {
      StoreItem& item = inventory_.items[at];
      if (item.kind == ItemKind::document && item.named && !is_document(item)) item.kind = ItemKind::layer;
    }
  }

  bool is_document(const StoreItem& item) const {
    const UniqueFd file = open_at_if_exists(root_, item.path, O_RDONLY | O_NONBLOCK);
    char first = 0;
    return file && ::read(file.get(), &first, 1) == 1 && first == '{';
  }

  int root_;
  UseLog::Uses uses_;
  std::optional<KeyLocks> locks_;
  DiskUsage usage_;
  std::set<std::string> top_;
  Reach named_, pulled_;
  Inventory inventory_;
};

}  // namespace

std::string_view kind_name(ItemKind kind) noexcept {
  switch (kind) {
    case ItemKind::layer:
      return "layer";
    case ItemKind::document:
      return "document";
    case ItemKind::record:
      return "record";
    case ItemKind::layer_index:
      return "layer-index";
    case ItemKind::extracted:
      return "extracted";
    case ItemKind::pieces:
      return "pieces";
    case ItemKind::cache_mount:
      return "cache-mount";
    case ItemKind::name:
      return "name";
    case ItemKind::work:
      return "work";
    case ItemKind::damaged:
      return "damaged";
    case ItemKind::leftover:
      return "leftover";
    case ItemKind::bookkeeping:
      return "bookkeeping";
  }
  return "leftover";
}

bool Inventory::is_garbage(const StoreItem& item) const noexcept {
  if (item.in_use || item.named || item.records != 0) return false;
  return item.kind == ItemKind::layer || item.kind == ItemKind::document ||
         item.kind == ItemKind::layer_index || item.kind == ItemKind::extracted ||
         item.kind == ItemKind::pieces || item.kind == ItemKind::damaged || item.kind == ItemKind::leftover;
}

Inventory take_inventory(int root) { return Taker(root).take(); }

void add_reach(int root, const oci::Descriptor& target, Reach& reach) {
  try {
    reach_from(root, target, 0, reach);
  } catch (const Error&) {
    // What a damaged document refers to cannot be told; a build finds out and makes or pulls the image anew.
  }
}

}  // namespace imgbuild::builder
