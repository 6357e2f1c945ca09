#include "builder/work_area.h"

#include <dirent.h>
#include <fcntl.h>

#include <cerrno>
#include <vector>

#include "base/error.h"
#include "base/root_dir.h"

namespace imgbuild::builder {

namespace {

constexpr const char* kOwner = "owner";
constexpr const char* kSweepLock = "steps";

UniqueFd open_sub_dir(int store_root, const char* name) {
  ensure_dir_at(store_root, name, 0700);
  return open_at(store_root, name, O_RDONLY | O_DIRECTORY);
}

std::vector<std::string> names_in(int dir) {
  std::vector<std::string> names;
  UniqueFd copy(::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* stream = copy ? ::fdopendir(copy.get()) : nullptr;
  if (stream == nullptr) throw SystemError(errno, "read directory", "steps");
  static_cast<void>(copy.release());
  while (const dirent* item = ::readdir(stream))
    if (item->d_name[0] != '.') names.emplace_back(item->d_name);
  ::closedir(stream);
  return names;
}

}  // namespace

WorkArea::WorkArea(int store_root)
    : WorkArea(
          open_sub_dir(store_root, "steps"),
          // A directory without its lock would look abandoned, so nobody sweeps while one is made.
          FileLock::acquire(open_sub_dir(store_root, "locks").get(), kSweepLock, FileLock::Kind::shared)) {}

WorkArea::WorkArea(UniqueFd steps, FileLock)
    : dir_(TempDir::create(steps.get(), "s")),
      owner_(FileLock::acquire(dir_.fd(), kOwner, FileLock::Kind::exclusive)) {}

int sweep_stale_steps(int store_root) {
  const UniqueFd steps = open_sub_dir(store_root, "steps");
  const auto sweeping =
      FileLock::try_acquire(open_sub_dir(store_root, "locks").get(), kSweepLock, FileLock::Kind::exclusive);
  if (!sweeping) return 0;
  int removed = 0;
  for (const auto& name : names_in(steps.get())) {
    try {
      {
        const UniqueFd dir = open_at(steps.get(), name, O_RDONLY | O_DIRECTORY);
        if (!FileLock::try_acquire(dir.get(), kOwner, FileLock::Kind::exclusive)) continue;
      }
      remove_tree_at(steps.get(), name);
      ++removed;
    } catch (const SystemError&) {
      // Not ours, or busy: it does no harm where it is.
    }
  }
  return removed;
}

}  // namespace imgbuild::builder
