#include "builder/work_area.h"

#include <dirent.h>
#include <fcntl.h>

#include <cerrno>
#include <vector>

#include "base/error.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "builder/process_info.h"

namespace imgbuild::builder {

namespace {

constexpr const char* kOwner = "owner";
constexpr const char* kSweepLock = "steps";
constexpr const char* kUser = "user";  ///< "pid start": the process this directory was left to

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

void WorkArea::leave_to(int pid) noexcept {
  dir_.release();
  try {
    const auto start = pid > 0 ? process_start(pid) : std::nullopt;
    if (!start) return;
    const UniqueFd file = open_at(dir_.fd(), kUser, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    write_all(file.get(), cat(pid, " ", *start), kUser);
  } catch (const Error&) {
    // The next sweep takes the directory then; the process has lost its files at worst.
  }
}

namespace {

/// Whether the process a directory was left to is still there.
bool is_used(int dir) {
  const UniqueFd file = open_at_if_exists(dir, kUser, O_RDONLY | O_NONBLOCK);
  if (!file) return false;
  const std::string text = read_file(file.get(), 100, kUser);
  const auto words = split(text, ' ');
  const auto pid = parse_decimal(words[0]);
  const auto start = words.size() == 2 ? parse_decimal(words[1]) : std::nullopt;
  return pid && start && *pid <= 0x7fffffff && process_start(static_cast<pid_t>(*pid)) == start;
}

}  // namespace

int sweep_stale_steps(int store_root) {
  // Not made here: this has to work in a store without room for a directory.
  const UniqueFd steps(::openat(store_root, "steps", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!steps) return 0;
  const auto sweeping =
      FileLock::try_acquire(open_sub_dir(store_root, "locks").get(), kSweepLock, FileLock::Kind::exclusive);
  if (!sweeping) return 0;
  int removed = 0;
  for (const auto& name : names_in(steps.get())) {
    try {
      {
        const UniqueFd dir = open_at(steps.get(), name, O_RDONLY | O_DIRECTORY);
        if (!FileLock::try_acquire(dir.get(), kOwner, FileLock::Kind::exclusive)) continue;
        if (is_used(dir.get())) continue;
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
