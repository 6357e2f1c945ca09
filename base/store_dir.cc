#include "base/store_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/file_lock.h"
#include "base/hash.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "base/syncer.h"

namespace imgbuild {

namespace {

constexpr const char* kWork = "work";
constexpr const char* kLocks = "locks";
constexpr const char* kMarks = "marks";  // in locks/: a key for every living process
constexpr char kMarkEnd = '-';

std::uint64_t key_of_mark(std::string_view mark) {
  std::uint64_t key = 0;
  const Digest digest = sha256(mark);
  std::memcpy(&key, digest.bytes().data(), sizeof key);
  return key;
}

UniqueFd open_or_make(int parent, const char* name) {
  UniqueFd dir = open_at_if_exists(parent, name, O_RDONLY | O_DIRECTORY);
  if (dir) return dir;
  ensure_dir_at(parent, name, 0700);
  return open_at(parent, name, O_RDONLY | O_DIRECTORY);
}

/// Best effort: a disk without room or such files has no reserve.
void keep_reserve(int root) noexcept {
  struct stat info {};
  if (::fstatat(root, kReserveFile, &info, AT_SYMLINK_NOFOLLOW) == 0 && info.st_size >= kReserveBytes) return;
  const UniqueFd file(::openat(root, kReserveFile, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (file && ::fallocate(file.get(), 0, 0, kReserveBytes) != 0) (void)::unlinkat(root, kReserveFile, 0);
}

std::optional<FileLock> try_mark(int locks, const std::string& mark) {
  return FileLock::try_acquire_key(locks, kMarks, key_of_mark(mark));
}

std::vector<std::string> names_in(int dir) {
  std::vector<std::string> names;
  UniqueFd copy = open_at(dir, ".", O_RDONLY | O_DIRECTORY);
  DIR* stream = ::fdopendir(copy.get());
  if (stream == nullptr) throw SystemError(errno, "read directory", kWork);
  static_cast<void>(copy.release());
  while (const dirent* item = ::readdir(stream)) {
    const std::string_view name = item->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(stream);
  return names;
}

}  // namespace

struct StoreDir::State {
  explicit State(int borrowed) noexcept : root(borrowed) {}
  const int root;
  std::mutex mutex;
  UniqueFd work, locks;
  std::string mark;
  std::optional<FileLock> alive;
  std::stop_token stop;
  std::function<void(const std::string&, pid_t)> on_wait;
};

StoreDir::StoreDir(int root) : state_(std::make_shared<State>(root)) {}

int StoreDir::fd() const noexcept { return state_->root; }

int StoreDir::work_fd() const {
  if (state_->root < 0) return -1;
  const std::lock_guard guard(state_->mutex);
  if (!state_->work) state_->work = open_or_make(state_->root, kWork);
  return state_->work.get();
}

int StoreDir::locks_fd() const {
  if (state_->root < 0) return -1;
  const std::lock_guard guard(state_->mutex);
  if (!state_->locks) state_->locks = open_or_make(state_->root, kLocks);
  return state_->locks.get();
}

std::string StoreDir::work_prefix() const {
  (void)work_fd();
  const int locks = locks_fd();
  const std::lock_guard guard(state_->mutex);
  if (!state_->alive) keep_reserve(state_->root);
  while (!state_->alive) {
    state_->mark = random_name();
    state_->alive = try_mark(locks, state_->mark);
  }
  return state_->mark + kMarkEnd;
}

std::string StoreDir::work_name() const { return work_prefix() + random_name(); }

TempDir StoreDir::make_work_dir() const { return TempDir::create(work_fd(), work_prefix()); }

void StoreDir::set_waiting(std::stop_token stop, std::function<void(const std::string&, pid_t)> on_wait) {
  state_->stop = std::move(stop);
  state_->on_wait = std::move(on_wait);
}

LockWait StoreDir::waiting_for(std::string what, std::stop_token stop) const {
  LockWait wait{.stop = stop.stop_possible() ? std::move(stop) : state_->stop};
  if (state_->on_wait)
    wait.on_long = [state = state_, what = std::move(what)](pid_t owner) { state->on_wait(what, owner); };
  return wait;
}

std::optional<WorkClaim> StoreDir::claim(const std::string& kind, const Digest& key,
                                         const LockWait& wait) const {
  if (state_->root < 0) return std::nullopt;
  try {
    return WorkClaim::acquire(locks_fd(), kind, key, wait);
  } catch (const SystemError& error) {
    if (error.error_number() != EROFS) throw;
    return std::nullopt;  // what is made cannot be kept, either, and whoever tries says so
  }
}

std::optional<WorkClaim> StoreDir::claim(const std::string& kind, const Digest& key, std::string what) const {
  return claim(kind, key, waiting_for(std::move(what)));
}

void StoreDir::publish(int dir, const std::string& name, std::string_view bytes, Syncer* syncer) const {
  try {
    publish_once(dir, name, bytes, syncer);
  } catch (const SystemError& error) {
    const bool full = error.error_number() == ENOSPC || error.error_number() == EDQUOT;
    if (!full || !release_reserve()) throw;
    publish_once(dir, name, bytes, syncer);
  }
}

bool StoreDir::release_reserve() const noexcept {
  return state_->root >= 0 && ::unlinkat(state_->root, kReserveFile, 0) == 0;
}

void StoreDir::publish_once(int dir, const std::string& name, std::string_view bytes, Syncer* syncer) const {
  const std::string aside = work_name();
  const int work = work_fd();
  const UniqueFd file = open_at(work, aside, O_WRONLY | O_CREAT | O_EXCL, 0600);
  try {
    write_all(file.get(), bytes, name);
    if (syncer != nullptr) syncer->data(file.get(), name);
    if (::renameat(work, aside.c_str(), dir, name.c_str()) != 0) throw SystemError(errno, "publish", name);
  } catch (...) {
    (void)::unlinkat(work, aside.c_str(), 0);
    throw;
  }
  if (syncer != nullptr) syncer->directory(dir, cat("the directory of ", name));
}

int sweep_work(const StoreDir& store, const std::function<bool(int, const std::string&)>& keep) {
  const UniqueFd work = open_at_if_exists(store.fd(), kWork, O_RDONLY | O_DIRECTORY);
  if (!work) return 0;
  std::map<std::string, std::vector<std::string>> by_mark;
  for (auto& name : names_in(work.get())) by_mark[name.substr(0, name.find(kMarkEnd))].push_back(name);
  int removed = 0;
  for (const auto& [mark, names] : by_mark) {
    const auto gone = try_mark(store.locks_fd(), mark);
    if (!gone) continue;
    for (const auto& name : names) {
      try {
        if (keep && keep(work.get(), name)) continue;
        remove_tree_at(work.get(), name);
        ++removed;
      } catch (const SystemError&) {
        // Not ours, or still busy: it does no harm where it is, and the next start tries again.
      }
    }
  }
  return removed;
}

}  // namespace imgbuild
