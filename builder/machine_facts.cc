#include "builder/machine_facts.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "builder/cgroup_paths.h"
#include "builder/process_tree.h"

namespace imgbuild::builder {

namespace {

constexpr std::uint64_t kMaxText = 64 * 1024;

std::string text_of(const std::string& path) {
  try {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    return file ? std::string(trim(read_file(file.get(), kMaxText, path))) : std::string();
  } catch (const Error&) {
    return {};
  }
}

bool exists(const char* path) { return ::access(path, F_OK) == 0; }

/// The controllers that limits of RUN need and that could be used: of version 2 those somebody delegated to
/// us, of version 1 what root may do anyway.
std::string cgroup_text() {
  constexpr std::array kWanted = {"cpu", "cpuset", "memory", "pids"};
  const CgroupPaths paths = read_cgroup_paths();
  std::string second, first;
  if (paths.unified && ::access(cat(paths.unified->own, "/cgroup.procs").c_str(), W_OK) == 0) {
    const std::string controllers = text_of(cat(paths.unified->own, "/cgroup.controllers"));
    for (const auto word : split(controllers, ' '))
      if (std::find(kWanted.begin(), kWanted.end(), word) != kWanted.end()) second += cat(" ", word);
  }
  for (const char* name : kWanted) {
    const auto place = paths.v1.find(name);
    if (place != paths.v1.end() && ::access(place->second.own.c_str(), W_OK) == 0) first += cat(" ", name);
  }
  if (!second.empty()) return cat("version 2, may limit:", second);
  if (!first.empty()) return cat("version 1, may limit:", first);
  if (!ProcessTree::is_supported()) return "none: no control group is given to this user, nor can it watch";
  return "watched: no control group is given to this user; memory and processes are looked at, "
         "--cpus binds to whole processors";
}

}  // namespace

std::string container_name(bool has_dockerenv, bool has_containerenv, std::string_view container_variable,
                           bool has_kubernetes_variable) {
  if (has_kubernetes_variable) return "kubernetes";
  if (has_containerenv || container_variable == "podman") return "podman";
  if (has_dockerenv || container_variable == "docker") return "docker";
  return container_variable.empty() ? "" : "container";
}

std::string file_system_name(int fd) {
  struct statfs info {};
  if (::fstatfs(fd, &info) != 0) return "unknown";
  switch (static_cast<unsigned long>(info.f_type)) {
    case 0xEF53:
      return "ext4";
    case 0x58465342:
      return "xfs";
    case BTRFS_SUPER_MAGIC:
      return "btrfs";
    case TMPFS_MAGIC:
      return "tmpfs";
    case OVERLAYFS_SUPER_MAGIC:
      return "overlay";
    case NFS_SUPER_MAGIC:
      return "nfs";
    case FUSE_SUPER_MAGIC:
      return "fuse";
    case V9FS_MAGIC:
      return "9p";
    default:
      return cat("type ", static_cast<unsigned long>(info.f_type));
  }
}

MachineFacts read_machine_facts() noexcept {
  MachineFacts facts;
  try {
    facts.uid = ::geteuid();
    if (const passwd* entry = ::getpwuid(facts.uid)) facts.user = entry->pw_name;
    utsname names{};
    if (::uname(&names) == 0) facts.kernel = names.release;
    const auto variable = [](const char* name) {
      const std::string all = text_of("/proc/self/environ");
      for (const auto entry : split(all, '\0'))
        if (entry.starts_with(name)) return std::string(entry.substr(std::string_view(name).size()));
      return std::string();
    };
    facts.container = container_name(exists("/.dockerenv"), exists("/run/.containerenv"),
                                     variable("container="), !variable("KUBERNETES_SERVICE_HOST=").empty());
    facts.security = text_of("/sys/kernel/security/lsm");
    facts.seccomp = text_of("/proc/self/status").find("\nSeccomp:\t2") != std::string::npos;
    facts.no_new_privs = ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
    facts.max_user_namespaces = text_of("/proc/sys/user/max_user_namespaces");
    facts.unprivileged_userns_clone = text_of("/proc/sys/kernel/unprivileged_userns_clone");
    facts.apparmor_restrict_userns = text_of("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
    facts.cgroup = cgroup_text();
  } catch (const std::exception&) {
    // What is known by now has to do.
  }
  return facts;
}

}  // namespace imgbuild::builder
