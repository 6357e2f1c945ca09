#include "builder/store_place.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "base/unique_fd.h"
#include "builder/cgroup_paths.h"

namespace imgbuild::builder {

namespace {

constexpr std::uint64_t kEnough = std::uint64_t{1} << 30;  ///< less is soon full of the layers of one base

/// Whether programs keep their own things there.
bool is_of_system(const std::string& path) {
  constexpr std::array kSystem = {"/boot", "/dev", "/etc", "/proc", "/sys", "/run/lock", "/run/credentials"};
  return std::any_of(kSystem.begin(), kSystem.end(),
                     [&](const std::string& top) { return path == top || path.starts_with(cat(top, "/")); });
}

std::uint64_t room_in(const std::string& path) {
  struct stat info {};
  struct statvfs fs {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || ::access(path.c_str(), W_OK) != 0)
    return 0;
  return ::statvfs(path.c_str(), &fs) != 0 ? 0 : std::uint64_t{fs.f_bavail} * fs.f_frsize;
}

}  // namespace

std::optional<std::string> find_store_place(
    std::string_view mountinfo, const std::function<std::uint64_t(const std::string& path)>& free_bytes) {
  std::optional<std::string> best;
  std::pair<bool, std::uint64_t> best_rank;
  for (const auto line : split(mountinfo, '\n')) {
    const auto words = split(line, ' ');
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 7 || words.end() - dash < 2 || dash - words.begin() < 6) continue;
    const std::string_view type = dash[1];
    const bool in_memory = type == "tmpfs";
    if (!in_memory && type != "ext4" && type != "xfs" && type != "btrfs") continue;
    const std::string path = unescape_mount_path(words[4]);
    if (!words[5].starts_with("rw") || is_of_system(path)) continue;
    const std::uint64_t room = free_bytes(path);
    const std::pair rank{!in_memory, room};
    if (room < kEnough || (best && rank <= best_rank)) continue;
    best = path;
    best_rank = rank;
  }
  return best;
}

std::optional<std::string> find_store_place() noexcept {
  try {
    const UniqueFd file(::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
    std::string text;
    char bytes[16384];
    for (ssize_t size; file && (size = ::read(file.get(), bytes, sizeof bytes)) > 0;)
      text.append(bytes, static_cast<std::size_t>(size));
    return find_store_place(text, room_in);
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace imgbuild::builder
