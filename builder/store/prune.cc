#include "builder/store/prune.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/dir_list.h"
#include "base/error.h"
#include "base/file_lock.h"
#include "base/root_dir.h"
#include "base/store_dir.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/work_claim.h"
#include "builder/cache_mounts.h"
#include "builder/layer_dirs.h"
#include "builder/work_area.h"
#include "cache/record_files.h"
#include "oci/disk_image_store.h"

namespace imgbuild::builder {

namespace {

/// What goes together, and why it goes before others.
struct Unit {
  int value = 0;  ///< smaller goes first
  std::uint64_t order = 0;
  std::int64_t last_used = 0;
  std::size_t item = 0;
  const RecordLinks* record = nullptr;
};

constexpr int kWorthless = 0;   ///< belongs to nothing
constexpr int kRemakeable = 1;  ///< made again by extracting or reading a layer
constexpr int kUseful = 2;      ///< made again by running or pulling

class Pruner {
 public:
  Pruner(StoreRoot& store, const PruneRequest& request, std::stop_token stop)
      : store_(store),
        root_(store.dir.get()),
        request_(request),
        stop_(std::move(stop)),
        locks_(open_locks()) {}

  PruneResult run() {
    PruneResult result;
    if (!take_turn()) {
      result.ran = false;
      return result;
    }
    if (!request_.dry_run) {
      make_room_to_work();
      empty_trash();
      sweep_stale_work(StoreDir(root_));
    }
    inventory_ = take_inventory(root_);
    result.left_bytes = inventory_.total_bytes;
    choose(result.left_bytes);
    if (request_.dry_run)
      report_chosen(result);
    else
      remove_chosen(result);
    result.left_bytes -= std::min(result.left_bytes, result.freed_bytes);
    return result;
  }

 private:
  /// Another owner than the session, so that what the session holds is in use, too.
  KeyLocks open_locks() const {
    const UniqueFd locks = open_at(root_, "locks", O_RDONLY | O_DIRECTORY);
    return KeyLocks(locks.get(), "store", stop_);
  }

  bool take_turn() {
    if (!request_.wait) return locks_.try_take(kPruneLock);
    locks_.take(kPruneLock);
    return true;
  }

  // ---- choosing

  void choose(std::uint64_t total) {
    std::vector<Unit> units = make_units();
    std::sort(units.begin(), units.end(), [&](const Unit& a, const Unit& b) {
      return std::tuple(a.value, a.order, a.last_used, inventory_.items[a.item].path) <
             std::tuple(b.value, b.order, b.last_used, inventory_.items[b.item].path);
    });
    chosen_.assign(inventory_.items.size(), false);
    std::uint64_t left = total;
    for (const Unit& unit : units) {
      if (request_.keep_bytes && left <= *request_.keep_bytes) return;
      if (request_.must_free_bytes && total - left >= *request_.must_free_bytes) return;
      if (chosen_[unit.item]) continue;
      const std::uint64_t gained =
          unit.record != nullptr ? choose_record(*unit.record) : choose_item(unit.item);
      left -= std::min(left, gained);
    }
  }

  bool qualifies(const StoreItem& item) const {
    if (item.in_use || (request_.used_before && item.last_used >= *request_.used_before)) return false;
    return request_.kinds.empty() || request_.kinds.contains(item.kind);
  }

  std::vector<Unit> make_units() const {
    std::vector<Unit> units;
    for (std::size_t i = 0; i < inventory_.items.size(); ++i) {
      const StoreItem& item = inventory_.items[i];
      if (!qualifies(item)) continue;
      if (const auto value = value_of(item))
        units.push_back({.value = *value, .order = item.order, .last_used = item.last_used, .item = i});
    }
    for (const auto& record : inventory_.records) {
      const StoreItem& item = inventory_.items[record.item];
      const bool wanted = request_.kinds.empty() || request_.kinds.contains(ItemKind::record) ||
                          request_.kinds.contains(ItemKind::layer);
      if (!wanted || item.in_use || (request_.used_before && item.last_used >= *request_.used_before))
        continue;
      const auto blob = inventory_.blobs.find(record.blob);
      if (blob != inventory_.blobs.end()) {
        const StoreItem& layer = inventory_.items[blob->second];
        // Without --all, what an image with a name is made of stays cached.
        if (layer.in_use || (layer.named && !request_.all)) continue;
      }
      units.push_back({.value = kUseful,
                       .order = item.order,
                       .last_used = item.last_used,
                       .item = record.item,
                       .record = &record});
    }
    return units;
  }

  /// Of a thing that goes alone; nothing when it does not.
  std::optional<int> value_of(const StoreItem& item) const {
    if (inventory_.is_garbage(item)) return kWorthless;
    switch (item.kind) {
      case ItemKind::extracted:
      case ItemKind::layer_index:
      case ItemKind::pieces:
        if (item.named && !request_.all) return std::nullopt;
        return kRemakeable;
      case ItemKind::cache_mount:
        return kUseful;
      case ItemKind::name:
        return item.pulled && request_.all ? std::optional(kUseful) : std::nullopt;
      default:
        return std::nullopt;
    }
  }

  std::uint64_t choose_item(std::size_t at) {
    if (chosen_[at]) return 0;
    chosen_[at] = true;
    return inventory_.items[at].disk_bytes;
  }

  /// The record, and what nothing else needs any more.
  std::uint64_t choose_record(const RecordLinks& record) {
    std::uint64_t gained = choose_item(record.item);
    const auto drop = [&](const auto& index, const Digest& digest) {
      const auto found = index.find(digest);
      if (found == index.end()) return;
      StoreItem& item = inventory_.items[found->second];
      if (item.records > 0) --item.records;
      if (item.records == 0 && !item.named && !item.in_use) gained += choose_item(found->second);
    };
    drop(inventory_.blobs, record.blob);
    drop(inventory_.indexes, record.diff_id);
    drop(inventory_.extracted, record.chain);
    drop(inventory_.contents, record.chain);
    drop(inventory_.pieces, record.blob);
    return gained;
  }

  void report_chosen(PruneResult& result) const {
    for (std::size_t i = 0; i < chosen_.size(); ++i) {
      if (!chosen_[i]) continue;
      result.removed.push_back(inventory_.items[i]);
      result.freed_bytes += inventory_.items[i].disk_bytes;
    }
  }

  // ---- removing

  void remove_chosen(PruneResult& result) {
    // Records first: once a blob is gone, nothing should promise it.
    for (const auto kind : {ItemKind::record, ItemKind::name}) remove_kind(kind, result);
    remove_blobs(result);
    for (const auto kind : {ItemKind::layer_index, ItemKind::extracted, ItemKind::pieces,
                            ItemKind::cache_mount, ItemKind::damaged})
      remove_kind(kind, result);
    remove_leftovers(result);
    remove_slots(result);
  }

  void remove_kind(ItemKind kind, PruneResult& result) {
    for (std::size_t i = 0; i < chosen_.size(); ++i) {
      if (!chosen_[i] || inventory_.items[i].kind != kind) continue;
      if (stop_.stop_requested()) throw Cancelled();
      if (remove_one(inventory_.items[i])) removed(i, result);
    }
  }

  void removed(std::size_t at, PruneResult& result) const {
    result.removed.push_back(inventory_.items[at]);
    result.freed_bytes += inventory_.items[at].disk_bytes;
  }

  bool remove_one(const StoreItem& item) {
    switch (item.kind) {
      case ItemKind::extracted:
        return remove_extracted(item);
      case ItemKind::cache_mount:
        return remove_mount(item);
      case ItemKind::damaged:
        return trash(item.path);
      default:
        return ::unlinkat(root_, item.path.c_str(), 0) == 0;
    }
  }

  /// See docs/formats/store.md, "Locks", for why this order.
  void remove_blobs(PruneResult& result) {
    std::vector<std::size_t> taken;
    for (std::size_t i = 0; i < chosen_.size(); ++i) {
      const StoreItem& item = inventory_.items[i];
      if (!chosen_[i] || (item.kind != ItemKind::layer && item.kind != ItemKind::document) || !item.digest)
        continue;
      if (locks_.try_take(KeyLocks::key_of(*item.digest))) taken.push_back(i);
    }
    if (taken.empty()) return;
    const Reach needed = look_again();
    for (const std::size_t i : taken) {
      const StoreItem& item = inventory_.items[i];
      if (!needed.blobs.contains(*item.digest) && ::unlinkat(root_, item.path.c_str(), 0) == 0)
        removed(i, result);
      locks_.release(KeyLocks::key_of(*item.digest));
    }
  }

  /// What names and records need now. Records that were there before are known.
  Reach look_again() const {
    Reach needed;
    for (const auto& image : oci::DiskImageStore(root_).list()) add_reach(root_, image.target, needed);
    std::unordered_map<std::string, const RecordLinks*> known;
    for (const auto& record : inventory_.records)
      known.emplace(inventory_.items[record.item].path.substr(6), &record);
    cache::list_record_files(root_, false, [&](const cache::RecordFile& file) {
      const auto before = known.find(file.path);
      if (before != known.end() && before->second->inode == file.inode) {
        needed.blobs.insert(before->second->blob);
      } else if (const auto record = cache::read_record_file(root_, file)) {
        needed.blobs.insert(record->layer.blob.digest);
      }
    });
    return needed;
  }

  bool remove_extracted(const StoreItem& item) {
    const UniqueFd locks = open_at(root_, "locks", O_RDONLY | O_DIRECTORY);
    const auto making = WorkClaim::try_acquire(locks.get(), claim_of_layer_path(item.path), *item.digest);
    if (!making) return false;
    const UniqueFd dir = open_at_if_exists(root_, item.path, O_RDONLY | O_DIRECTORY);
    if (!dir) return false;
    const bool complete = static_cast<bool>(open_at_if_exists(dir.get(), "meta", O_RDONLY | O_NONBLOCK));
    if (complete) {
      const auto unused = FileLock::try_acquire(dir.get(), "meta", FileLock::Kind::exclusive);
      return unused && trash(item.path);
    }
    return trash(item.path);
  }

  bool remove_mount(const StoreItem& item) {
    const UniqueFd locks = open_at(root_, "locks", O_RDONLY | O_DIRECTORY);
    const std::string name = item.path.substr(item.path.find('/') + 1);
    const auto unused = FileLock::try_acquire(locks.get(), cache_mount_lock(name), FileLock::Kind::exclusive);
    return unused && trash(item.path);
  }

  /// Gone at once for everybody; what it holds is removed after.
  bool trash(const std::string& path) {
    ensure_dir_at(root_, "trash", 0700);
    const UniqueFd trash = open_at(root_, "trash", O_RDONLY | O_DIRECTORY);
    const std::string name = random_name();
    if (::renameat(root_, path.c_str(), trash.get(), name.c_str()) != 0) return false;
    remove_tree_at(trash.get(), name);
    return true;
  }

  /// Removing takes a little space, too: a folder to put things aside.
  void make_room_to_work() const {
    struct statvfs info {};
    if (::fstatvfs(root_, &info) == 0 && std::uint64_t{info.f_bavail} * info.f_frsize < kReserveBytes)
      (void)StoreDir(root_).release_reserve();
  }

  void empty_trash() const {
    const UniqueFd trash = open_at_if_exists(root_, "trash", O_RDONLY | O_DIRECTORY);
    if (!trash) return;
    std::vector<std::string> names;
    list_dir(trash.get(), [&](const DirEntry& entry) { names.push_back(entry.name); });
    for (const auto& name : names) remove_tree_at(trash.get(), name);
  }

  /// Among them are unfinished files of builds that run. They were listed before this look at who lives:
  /// without anybody else, they are of the dead.
  void remove_leftovers(PruneResult& result) {
    if (request_.from_build || store_.locks.is_held_by_others(kStoreLock)) return;
    for (std::size_t i = 0; i < chosen_.size(); ++i) {
      if (!chosen_[i] || inventory_.items[i].kind != ItemKind::leftover ||
          inventory_.items[i].path == "trash")
        continue;
      remove_tree_at(root_, inventory_.items[i].path);
      removed(i, result);
    }
  }

  void remove_slots(PruneResult& result) const {
    std::unordered_set<Digest> kept;
    for (const auto& record : inventory_.records) {
      if (!chosen_[record.item] && inventory_.items[record.item].digest)
        kept.insert(*inventory_.items[record.item].digest);
    }
    if (kept.size() == inventory_.records.size()) return;
    result.freed_bytes +=
        cache::remove_empty_slots(root_, [&](const Digest& key) { return kept.contains(key); });
  }

  StoreRoot& store_;
  int root_;
  const PruneRequest& request_;
  std::stop_token stop_;
  KeyLocks locks_;
  Inventory inventory_;
  std::vector<bool> chosen_;
};

}  // namespace

PruneResult prune_store(StoreRoot& store, const PruneRequest& request, std::stop_token stop) {
  if (store.read_only && !request.dry_run)
    throw Error(cat("the store ", printable(store.path), " is read-only: nothing can be removed"),
                ExitCode::system);
  return Pruner(store, request, std::move(stop)).run();
}

}  // namespace imgbuild::builder
