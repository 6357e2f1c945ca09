#include "cache/stat_memo.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/file_lock.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "cache/memo_file.h"

namespace imgbuild::cache {

namespace {

const std::string kFileName = "stat-memo";
const std::string kRecentName = "stat-memo.recent";
/// The recent file is joined with the other when it has grown to this part of it, so that what a build writes
/// follows what it learned and not what the store has seen.
constexpr std::size_t kRecentShare = 8;

// Kernels stamp files with the time of the last tick, which is at most 10 ms old; twice that leaves room for
// the difference between that clock and ours. Stamps without a fraction may come from file systems that keep
// whole seconds or, as FAT does, pairs of them.
constexpr std::int64_t kTick = 20'000'000;
constexpr std::int64_t kCoarseTick = 2'100'000'000;

/// Whether `later` is more than `grain` nanoseconds after `earlier`, for any seconds a file system may hand
/// out.
bool is_later_by(const Timestamp& earlier, const Timestamp& later, std::int64_t grain) {
  if (later.seconds < earlier.seconds) return false;
  const std::uint64_t seconds =
      static_cast<std::uint64_t>(later.seconds) - static_cast<std::uint64_t>(earlier.seconds);
  if (seconds > 1'000) return true;
  return static_cast<std::int64_t>(seconds) * 1'000'000'000 + static_cast<std::int64_t>(later.nanoseconds) -
             static_cast<std::int64_t>(earlier.nanoseconds) >
         grain;
}

/// One bit an entry, set from several threads.
class UseMarks {
 public:
  explicit UseMarks(std::size_t size) : words_((size + 63) / 64) {}
  void set(std::size_t at) noexcept {
    auto& word = words_[at / 64];
    const std::uint64_t bit = std::uint64_t{1} << (at % 64);
    if ((word.load(std::memory_order_relaxed) & bit) == 0) word.fetch_or(bit, std::memory_order_relaxed);
  }
  bool get(std::size_t at) const noexcept {
    return (words_[at / 64].load(std::memory_order_relaxed) >> (at % 64) & 1) != 0;
  }

 private:
  std::vector<std::atomic<std::uint64_t>> words_;
};

struct InodeHash {
  std::size_t operator()(const std::pair<std::uint64_t, std::uint64_t>& inode) const noexcept {
    return static_cast<std::size_t>(memo_hash(inode.first, inode.second));
  }
};

class DiskStatMemo final : public StatMemo {
 public:
  DiskStatMemo(const StoreDir& store, std::size_t max_entries)
      : store_(store),
        dir_(open_at(store.fd(), ".", O_RDONLY | O_DIRECTORY)),
        max_entries_(max_entries),
        recent_(MemoFile::open(dir_.get(), kRecentName)),
        file_(MemoFile::open(dir_.get(), kFileName)),
        used_(file_.entries().size()) {}

  std::optional<Digest> find(const FileIdentity& file) const override {
    if (any_fresh_.load(std::memory_order_acquire)) {
      const std::shared_lock guard(mutex_);
      const auto found = fresh_.find({file.device, file.inode});
      if (found != fresh_.end() && found->second.is(file)) return Digest::from_bytes(found->second.digest);
    }
    if (const auto at = recent_.find(file)) return Digest::from_bytes(recent_.entries()[*at].digest);
    const auto at = file_.find(file);
    if (!at) return std::nullopt;
    used_.set(*at);
    return Digest::from_bytes(file_.entries()[*at].digest);
  }

  void remember(const FileIdentity& file, const Digest& content, const Timestamp& read_at) override {
    if (!is_settled(file, read_at)) return;
    const std::unique_lock guard(mutex_);
    fresh_.insert_or_assign({file.device, file.inode}, MemoEntry::make(file, content, 0));
    any_fresh_.store(true, std::memory_order_release);
    saved_ = false;
  }

  void save() override {
    const std::unique_lock guard(mutex_);
    if (saved_) return;
    try {
      ensure_dir_at(dir_.get(), "locks", 0700);
      const UniqueFd locks = open_at(dir_.get(), "locks", O_RDONLY | O_DIRECTORY);
      const FileLock lock = FileLock::acquire(locks.get(), kFileName, FileLock::Kind::exclusive);
      const MemoFile current = MemoFile::open(dir_.get(), kFileName);
      const std::uint32_t generation = current.generation() + 1;
      std::vector<MemoEntry> recent = with_recent(learned(generation));
      if ((recent.size() + outdated_uses(current)) * kRecentShare <= current.entries().size()) {
        publish(kRecentName, encode_memo(recent, generation));
      } else {
        publish(kFileName, encode_memo(bounded(joined(current, recent, generation)), generation));
        // Only now: until then its entries are nowhere else, and twice they do no harm.
        (void)::unlinkat(dir_.get(), kRecentName.c_str(), 0);
      }
      saved_ = true;
    } catch (const SystemError&) {
      // A full or read-only store: the next build hashes these files again, which is slow but right.
    }
  }

 private:
  std::vector<MemoEntry> learned(std::uint32_t generation) const {
    std::vector<MemoEntry> out;
    out.reserve(fresh_.size());
    for (const auto& [inode, entry] : fresh_) out.push_back(entry.in_generation(generation));
    std::sort(out.begin(), out.end(), memo_order);
    return out;
  }

  /// The entries of a file that can be believed. Damaged ones and, in a damaged file, those out of order
  /// would spoil the file they are written into.
  static std::vector<MemoEntry> sound(const MemoFile& file) {
    std::vector<MemoEntry> out;
    out.reserve(file.entries().size());
    const MemoEntry* last = nullptr;
    for (const MemoEntry& entry : file.entries()) {
      if (!entry.intact() || (last != nullptr && !memo_order(*last, entry))) continue;
      last = &entry;
      out.push_back(entry);
    }
    return out;
  }

  /// Of an inode that is in both, the entry in `newer` counts.
  static std::vector<MemoEntry> united(const std::vector<MemoEntry>& newer,
                                       const std::vector<MemoEntry>& older) {
    std::vector<MemoEntry> all;
    all.reserve(newer.size() + older.size());
    std::set_union(newer.begin(), newer.end(), older.begin(), older.end(), std::back_inserter(all),
                   memo_order);
    return all;
  }

  std::vector<MemoEntry> with_recent(const std::vector<MemoEntry>& fresh) const {
    return united(fresh, sound(MemoFile::open(dir_.get(), kRecentName)));
  }

  /// `current` with `recent` and with the use this build made of it, in memo_order.
  std::vector<MemoEntry> joined(const MemoFile& current, const std::vector<MemoEntry>& recent,
                                std::uint32_t generation) const {
    std::vector<MemoEntry> old = sound(current);
    for (MemoEntry& entry : old)
      if (was_used(entry)) entry = entry.in_generation(generation);
    return united(recent, old);
  }

  /// How many entries this build used that the file does not know to be in use. They count like new ones, or
  /// a full memo would drop what is used all the time and was learned long ago.
  std::size_t outdated_uses(const MemoFile& current) const {
    std::size_t count = 0;
    for (std::size_t i = 0; i < file_.entries().size(); ++i)
      if (used_.get(i) && file_.entries()[i].generation != current.generation()) ++count;
    return count;
  }

  bool was_used(const MemoEntry& entry) const {
    const auto at = file_.find(entry.identity());
    return at && used_.get(*at);
  }

  /// Without the generations that were used longest ago, so that at most max_entries_ are left.
  std::vector<MemoEntry> bounded(std::vector<MemoEntry> entries) const {
    if (entries.size() <= max_entries_) return entries;
    std::map<std::uint32_t, std::size_t, std::greater<>> by_generation;
    for (const MemoEntry& entry : entries) ++by_generation[entry.generation];
    std::uint32_t oldest_kept = 0;
    std::size_t kept = 0;
    std::size_t from_oldest = 0;
    for (const auto& [generation, count] : by_generation) {
      oldest_kept = generation;
      from_oldest = std::min(count, max_entries_ - kept);
      kept += from_oldest;
      if (kept == max_entries_) break;
    }
    std::erase_if(entries, [&](const MemoEntry& entry) {
      if (entry.generation != oldest_kept) return entry.generation < oldest_kept;
      if (from_oldest == 0) return true;
      --from_oldest;
      return false;
    });
    return entries;
  }

  void publish(const std::string& name, std::string_view bytes) const {
    store_.publish(dir_.get(), name, bytes);
  }

  StoreDir store_;
  UniqueFd dir_;
  std::size_t max_entries_;
  MemoFile recent_;  ///< few entries, and the newer ones; opened first, or what moves from one to the other
                     ///< were missed
  MemoFile file_;
  mutable UseMarks used_;
  mutable std::shared_mutex mutex_;
  std::unordered_map<std::pair<std::uint64_t, std::uint64_t>, MemoEntry, InodeHash> fresh_;
  std::atomic<bool> any_fresh_{false};
  bool saved_ = true;
};

}  // namespace

bool is_settled(const FileIdentity& file, const Timestamp& read_at) noexcept {
  const std::int64_t grain = file.ctime.nanoseconds == 0 ? kCoarseTick : kTick;
  return is_later_by(file.mtime, read_at, grain) && is_later_by(file.ctime, read_at, grain);
}

std::unique_ptr<StatMemo> open_stat_memo(const StoreDir& store, std::size_t max_entries) {
  return std::make_unique<DiskStatMemo>(store, max_entries);
}

}  // namespace imgbuild::cache
