#include "builder/steps/run_devices.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "builder/cdi_devices.h"
#include "parser/paths.h"

namespace imgbuild::builder {

namespace {

struct stat status_of(int fd, const std::string& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) throw SystemError(errno, "stat", path);
  return info;
}

/// A node is bound as it is on the host: nothing about it can be changed on the way in.
void check_node(const CdiNode& node, const struct stat& info) {
  const auto refuse = [&](const std::string& why) {
    throw UnsupportedError(cat("the device node ", printable(node.host_path), " ", why));
  };
  const bool character = S_ISCHR(info.st_mode);
  if (!character && !S_ISBLK(info.st_mode)) refuse("is no device on this machine");
  if (!node.type.empty() && (node.type == "b") == character)
    refuse(cat("is not of type ", printable(node.type)));
  if (node.type == "p") refuse("is a pipe, and pipes are not handed out");
  const bool other_number = (node.major && *node.major != static_cast<std::int64_t>(major(info.st_rdev))) ||
                            (node.minor && *node.minor != static_cast<std::int64_t>(minor(info.st_rdev)));
  if (other_number) refuse("has another device number than its CDI file says");
  const bool other_owner =
      (node.uid && *node.uid != static_cast<std::int64_t>(info.st_uid)) ||
      (node.gid && *node.gid != static_cast<std::int64_t>(info.st_gid)) ||
      (node.mode && (*node.mode & 0777) != static_cast<std::int64_t>(info.st_mode & 0777));
  if (other_owner) refuse("has another owner or mode than its CDI file asks for; give it these on the host");
  const bool limited = !node.permissions.empty() && (node.permissions.find('r') == std::string::npos ||
                                                     node.permissions.find('w') == std::string::npos);
  if (limited) refuse(cat("shall be limited to \"", node.permissions, "\", which a bound node cannot be"));
}

/// What the sandbox puts into /dev itself.
bool is_own_device(std::string_view path) {
  constexpr std::string_view kOwn[] = {"/dev/null",    "/dev/zero",   "/dev/full",   "/dev/random",
                                       "/dev/urandom", "/dev/tty",    "/dev/fd",     "/dev/ptmx",
                                       "/dev/pts",     "/dev/shm",    "/dev/mqueue", "/dev/core",
                                       "/dev/stdin",   "/dev/stdout", "/dev/stderr"};
  return std::find(std::begin(kOwn), std::end(kOwn), path) != std::end(kOwn);
}

}  // namespace

RunDevices::RunDevices(const StepContext& context, const RunOp& op) {
  if (op.devices.empty()) return;
  const auto devices = CdiDevices::read(context.request.cdi_spec_dirs);
  std::vector<std::string> skipped;
  edits_ = edits_for(devices, op.devices, skipped);
  for (const auto& name : skipped) {
    std::string text = cat("the device \"", name, "\" is not registered; the command runs without it");
    for (const auto& problem : devices.problems()) text += cat(" (", problem, ")");
    context.events.on_event(Warned{"", std::move(text), "", context.step.where});
  }
  for (const auto& node : edits_.nodes) open_node(node);
  for (const auto& mount : edits_.mounts) open_mount(mount);
}

void RunDevices::open_node(const CdiNode& node) {
  const std::string target = parser::clean_path(node.path);
  if (!target.starts_with("/dev/") || is_own_device(target)) {
    throw UnsupportedError(cat("a device node cannot be put at ", printable(node.path),
                               "; it belongs below /dev, where nothing else is"));
  }
  UniqueFd fd = open_path(node.host_path, O_PATH);
  check_node(node, status_of(fd.get(), node.host_path));
  mounts_.push_back({.kind = SandboxMount::Kind::bind,
                     .target = target,
                     .source_fd = fd.get(),
                     .read_only = false,
                     .no_exec = true,
                     .device = true});
  descriptors_.push_back(std::move(fd));
}

void RunDevices::open_mount(const CdiMount& mount) {
  const auto refuse = [&](std::string_view why) {
    throw UnsupportedError(cat("the mount of ", printable(mount.host_path), " that a device asks for ", why));
  };
  bool read_only = false, no_exec = false;
  for (const auto& option : mount.options) {
    constexpr std::string_view kHarmless[] = {"bind",     "rbind", "nosuid", "nodev",    "private",
                                              "rprivate", "slave", "rslave", "relatime", "noatime"};
    if (option == "ro")
      read_only = true;
    else if (option == "noexec")
      no_exec = true;
    else if (std::find(std::begin(kHarmless), std::end(kHarmless), option) == std::end(kHarmless))
      refuse(cat("has the option \"", printable(option), "\", which is not known to be safe"));
  }
  if (!mount.type.empty() && mount.type != "bind" && mount.type != "none") refuse("is no bind mount");
  if (!read_only) refuse("is not read-only: a build writes nothing outside of its own files");
  UniqueFd fd = open_path(mount.host_path, O_PATH);
  const mode_t type = status_of(fd.get(), mount.host_path).st_mode;
  if (!S_ISREG(type) && !S_ISDIR(type)) refuse("is neither a file nor a directory");
  mounts_.push_back({.kind = SandboxMount::Kind::bind,
                     .target = parser::clean_path(mount.container_path),
                     .source_fd = fd.get(),
                     .read_only = true,
                     .no_exec = no_exec,
                     .of_host = true});
  descriptors_.push_back(std::move(fd));
}

void RunDevices::add_to(SandboxSpec& spec) const {
  spec.mounts.insert(spec.mounts.end(), mounts_.begin(), mounts_.end());
  for (const auto& entry : edits_.env) {
    const std::string prefix = entry.substr(0, entry.find('=') + 1);
    std::erase_if(spec.env, [&](const std::string& known) { return known.starts_with(prefix); });
    spec.env.push_back(entry);
  }
  spec.extra_gids.insert(spec.extra_gids.end(), edits_.additional_gids.begin(), edits_.additional_gids.end());
}

}  // namespace imgbuild::builder
