#include "builder/sandbox_mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/mount.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "builder/secrets.h"

namespace imgbuild::builder {

namespace {

using Kind = SandboxMount::Kind;

constexpr unsigned kPlain = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

/// Where files from outside lie: in memory that is never swapped, so that what is secret reaches no disk. The
/// list of mounts inside shows the options of the file system beside those of the mount, and commands see
/// just the latter with Docker. A ramfs has none to show, where a tmpfs tells noswap and, in a user
/// namespace, whose it is; and its mode is none either when it is changed afterwards.
UniqueFd make_context() {
  UniqueFd context = FsContext("ramfs").mount(kPlain);
  if (::fchmodat(context.get(), ".", 0700, 0) != 0)
    throw SystemError(errno, "chmod", "files for the sandbox");
  return context;
}

OverlayDirs root_dirs(const RootfsSpec& rootfs, int stub_layer) {
  OverlayDirs dirs{rootfs.lower_dirs, rootfs.upper_dir, rootfs.work_dir};
  if (stub_layer >= 0 && dirs.lower.size() < kMaxLowerDirs) dirs.lower.push_back(stub_layer);
  return dirs;
}

bool is_directory(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) throw SystemError(errno, "stat", "mount source");
  return S_ISDIR(info.st_mode);
}

std::size_t depth(const std::string& target) {
  return static_cast<std::size_t>(std::count(target.begin(), target.end(), '/'));
}

UniqueFd make_tmpfs(const SandboxMount& mount) {
  constexpr char kOctal[] = "01234567";
  std::string mode;
  for (int shift = 9; shift >= 0; shift -= 3) mode += kOctal[mount.mode >> shift & 7u];
  FsContext tmpfs("tmpfs");
  tmpfs.set_string("mode", mode);
  if (mount.size_bytes != 0) tmpfs.set_string("size", cat(mount.size_bytes));
  return tmpfs.mount(kPlain);
}

}  // namespace

TempDir make_stub_layer(int scratch_dir) {
  TempDir layer = TempDir::create(scratch_dir, ".stubs-");
  for (const char* name : {"proc", "sys", "dev", "etc"}) {
    ensure_dir_at(layer.fd(), name, 0755);
    if (::fchmodat(layer.fd(), name, 0755, 0) != 0)
      throw SystemError(errno, "chmod", name);  // whatever the umask is
  }
  for (const char* name : {"etc/hosts", "etc/resolv.conf"}) {
    const UniqueFd file = open_at(layer.fd(), name, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (::fchmod(file.get(), 0644) != 0) throw SystemError(errno, "chmod", name);
  }
  return layer;
}

std::string clean_mount_target(const std::string& target, bool device) {
  const auto refuse = [&](std::string_view why) {
    throw Error(cat("invalid mount target \"", printable(target), "\": ", why));
  };
  if (!target.starts_with('/')) refuse("it is not absolute");
  if (target.find('\0') != std::string::npos || target.size() > 4000) refuse("it is no usable path");
  std::vector<std::string> parts;
  for (const auto part : split(target, '/')) {
    if (part.size() > 255) refuse("a name in it is too long");
    if (part.empty() || part == ".") continue;
    if (part != "..")
      parts.emplace_back(part);
    else if (!parts.empty())
      parts.pop_back();
  }
  if (parts.empty()) refuse("it is the root");
  const bool allowed_in_dev =
      parts.size() > 1 && (device || parts[1] == "shm" || (parts[1] == "pipes" && parts.size() > 2));
  if (parts[0] == "proc" || parts[0] == "sys" || (parts[0] == "dev" && !allowed_in_dev))
    refuse(cat("/", parts[0], " belongs to the sandbox"));
  return cat("/", join(parts, "/"));
}

std::string hosts_file(const SandboxSpec& spec) {
  std::string out =
      cat("127.0.0.1\tlocalhost ", spec.hostname, "\n::1\tlocalhost ip6-localhost ip6-loopback\n");
  for (const auto& [name, address] : spec.extra_hosts) out += cat(address, "\t", name, "\n");
  return out;
}

SandboxMounts::SandboxMounts(const SandboxSpec& spec, const Options& options)
    : spec_(spec),
      options_(options),
      root_(spec.rootfs.root_dir >= 0 ? clone_mount(spec.rootfs.root_dir, "")
                                      : merge(root_dirs(spec.rootfs, options.stub_layer))),
      context_(make_context()),
      stubs_(root_.get(), spec.rootfs.upper_dir, options.fuse != nullptr) {}

std::uint32_t SandboxMounts::keep(UniqueFd fd) {
  const std::size_t index = launch::fd_first_mount + fds_.size();
  if (index >= static_cast<std::size_t>(launch::kMaxFds))
    throw UnsupportedError(
        cat("more than ", launch::kMaxFds - launch::fd_first_mount, " mounts for one RUN"));
  fds_.push_back(std::move(fd));
  return static_cast<std::uint32_t>(index);
}

void SandboxMounts::write_context_file(const std::string& name, std::string_view content, std::uint32_t mode,
                                       std::uint32_t uid, std::uint32_t gid) {
  const UniqueFd file = open_at(context_.get(), name, O_WRONLY | O_CREAT | O_EXCL, 0600);
  write_all(file.get(), content, "file for the sandbox");
  if (::fchown(file.get(), uid, gid) != 0) throw SystemError(errno, "chown", "file for the sandbox");
  if (::fchmod(file.get(), mode) != 0) throw SystemError(errno, "chmod", "file for the sandbox");
}

void SandboxMounts::add_system_file(LaunchRequestBuilder& request, const std::string& path,
                                    const std::string& content) {
  const auto place = stubs_.ensure(path, false, true, covered_);
  const std::string name = cat("f", file_count_++);
  write_context_file(name, content, 0644, 0, 0);
  request.add_mount({.source = request.add_string(name),
                     .target = request.add_string(place.path),
                     .is_file = 1,
                     .on_link = place.on_link ? 1u : 0u,
                     .attributes = kPlain | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY});
}

UniqueFd SandboxMounts::open_merged(const SandboxMount& mount) {
  OverlayDirs dirs{.lower = mount.lower_dirs};
  if (mount.private_copy || (mount.read_only && dirs.lower.size() == 1))
    return clone_mount(dirs.lower.front(), "");
  scratch_.push_back(TempDir::create(options_.scratch_dir, ".bind-"));
  const int scratch = scratch_.back().fd();
  UniqueFd upper, work;
  ensure_dir_at(scratch, "u", 0755);
  upper = open_at(scratch, "u", O_PATH | O_DIRECTORY);
  if (mount.read_only) {
    dirs.lower.push_back(upper.get());  // an overlay without an upper directory wants two lower ones
  } else {
    ensure_dir_at(scratch, "w", 0755);
    work = open_at(scratch, "w", O_PATH | O_DIRECTORY);
    dirs.upper = upper.get();
    dirs.work = work.get();
  }
  return merge(dirs);
}

UniqueFd SandboxMounts::merge(const OverlayDirs& dirs) {
  if (options_.fuse == nullptr) return mount_overlay(dirs, options_.flavour, options_.overlay);
  served_.push_back(std::make_unique<FuseOverlay>(*options_.fuse, dirs));
  return served_.back()->take_mount();
}

void SandboxMounts::require_served(std::chrono::milliseconds patience) {
  for (const auto& server : served_) server->require_running(patience);
}

void SandboxMounts::finish_served() {
  if (served_.empty()) return;
  root_.reset();
  fds_.clear();
  for (const auto& server : served_) server->finish();
}

void SandboxMounts::add_user_mount(LaunchRequestBuilder& request, const SandboxMount& mount) {
  const std::string target = clean_mount_target(mount.target, mount.device);
  launch::LaunchMount entry;
  entry.attributes = (mount.device ? static_cast<unsigned>(MOUNT_ATTR_NOSUID) : kPlain) |
                     (mount.no_exec ? static_cast<unsigned>(MOUNT_ATTR_NOEXEC) : 0u) |
                     (mount.read_only ? static_cast<unsigned>(MOUNT_ATTR_RDONLY) : 0u);
  bool directory = true;
  switch (mount.kind) {
    case Kind::bind:
      directory = is_directory(mount.source_fd);
      entry.fd = keep(clone_mount(mount.source_fd, ""));
      break;
    case Kind::tmpfs:
      entry.fd = keep(make_tmpfs(mount));
      memory_.push_back(fds_.back().get());
      break;
    case Kind::overlay: {
      UniqueFd merged = open_merged(mount);
      // Links in the source stay inside the tree they are in (CVE-2024-1753).
      MountStubs no_stubs(merged.get(), -1);
      const auto inner = no_stubs.find(mount.source_path);
      directory = inner.is_directory;
      if (!inner.path.empty()) entry.inner = request.add_string(inner.path);
      entry.fd = keep(std::move(merged));
      break;
    }
    case Kind::file: {
      directory = false;
      const std::string name = cat("f", file_count_++);
      write_context_file(name, mount.secret ? mount.secret->value() : mount.content, mount.mode, mount.uid,
                         mount.gid);
      entry.source = request.add_string(name);
      entry.attributes |= MOUNT_ATTR_RDONLY;
      break;
    }
  }
  const auto place = stubs_.ensure(target, directory, false, covered_);
  entry.target = request.add_string(place.path);
  entry.is_file = directory ? 0 : 1;
  request.add_mount(entry);
  covered_.push_back(place.path);
}

void SandboxMounts::leave() noexcept {
  for (auto& dir : scratch_) dir.release();
}

void SandboxMounts::add_to(LaunchRequestBuilder& request) {
  for (const char* name : {"proc", "sys", "dev"}) stubs_.ensure_real_directory(name);
  add_system_file(request, "/etc/resolv.conf", spec_.resolv_conf);
  add_system_file(request, "/etc/hosts", hosts_file(spec_));
  std::vector<const SandboxMount*> order;
  for (const auto& mount : spec_.mounts) order.push_back(&mount);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return depth(clean_mount_target(a->target, a->device)) < depth(clean_mount_target(b->target, b->device));
  });
  for (const auto* mount : order) add_user_mount(request, *mount);
}

}  // namespace imgbuild::builder
