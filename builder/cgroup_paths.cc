#include "builder/cgroup_paths.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/error.h"
#include "base/kernel_file.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

struct Mount {
  std::string root, point;
  bool unified = false;
  std::vector<std::string> options;  ///< of the file system: the controllers are among them
};

/// "36 35 98:0 /root /point rw,noatime shared:1 - cgroup2 source rw,memory"
std::optional<Mount> parse_mount(std::string_view line) {
  const auto fields = split(line, ' ');
  const auto separator = std::find(fields.begin(), fields.end(), "-");
  if (fields.size() < 5 || fields.end() - separator < 4) return std::nullopt;
  const auto type = separator[1];
  if (type != "cgroup" && type != "cgroup2") return std::nullopt;
  Mount mount{unescape_mount_path(fields[3]), unescape_mount_path(fields[4]), type == "cgroup2", {}};
  for (const auto option : split(separator[3], ',')) mount.options.emplace_back(option);
  return mount;
}

/// `group` below the mount, when it is visible there.
std::optional<CgroupPlace> place_in(const Mount& mount, const std::string& group) {
  const std::string root = mount.root == "/" ? "" : mount.root;
  const bool below = group.starts_with(root) && (group.size() == root.size() || group[root.size()] == '/');
  if (!below || group.starts_with("/..")) return std::nullopt;  // outside of our namespace
  std::string rest = group.substr(root.size());
  if (rest == "/") rest.clear();
  return CgroupPlace{mount.point + rest, mount.point};
}

}  // namespace

std::string unescape_mount_path(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](std::size_t at) { return at < text.size() ? text[at] - '0' : -1; };
    const int high = digit(i + 1), middle = digit(i + 2), low = digit(i + 3);
    const auto octal = [](int d) { return d >= 0 && d <= 7; };
    if (text[i] == '\\' && octal(high) && octal(middle) && octal(low)) {
      out += static_cast<char>(high * 64 + middle * 8 + low);
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

CgroupPaths parse_cgroup_paths(std::string_view mountinfo, std::string_view own_groups) {
  std::vector<Mount> mounts;
  for (const auto line : split(mountinfo, '\n'))
    if (auto mount = parse_mount(line)) mounts.push_back(std::move(*mount));
  CgroupPaths paths;
  for (const auto line : split(own_groups, '\n')) {  // "4:memory:/group", "0::/group"
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string_view::npos || second == std::string_view::npos) continue;
    const auto controllers = line.substr(first + 1, second - first - 1);
    const std::string group(line.substr(second + 1));
    for (const auto& mount : mounts) {
      if (controllers.empty()) {
        if (mount.unified && !paths.unified) paths.unified = place_in(mount, group);
        continue;
      }
      for (const auto controller : split(controllers, ',')) {
        const auto& options = mount.options;
        if (mount.unified || std::find(options.begin(), options.end(), controller) == options.end()) continue;
        if (auto place = place_in(mount, group)) paths.v1.emplace(controller, std::move(*place));
      }
    }
  }
  return paths;
}

CgroupPaths read_cgroup_paths() {
  return parse_cgroup_paths(read_kernel_file("/proc/self/mountinfo"), read_kernel_file("/proc/self/cgroup"));
}

}  // namespace imgbuild::builder
