#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <initializer_list>

#include "builder/launcher/request.h"

namespace imgbuild::launch {

namespace {

constexpr unsigned kSafe = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

int attach(int mount, int target) {
  return ::move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

int set_attributes(int mount, unsigned attributes, bool recursive) {
  if (attributes == 0) return 0;
  mount_attr change{};
  change.attr_set = attributes;
  return ::mount_setattr(mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &change, sizeof change);
}

/// As kernels before 5.12 have it: `mount` must be attached, and is named by its descriptor in a procfs that
/// was mounted by us. It gets these attributes and no others.
int remount(int proc, int mount, unsigned attributes) {
  const int names = ::openat(proc, "self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  unsigned long flags = MS_REMOUNT | MS_BIND;
  if ((attributes & MOUNT_ATTR_RDONLY) != 0) flags |= MS_RDONLY;
  if ((attributes & MOUNT_ATTR_NOSUID) != 0) flags |= MS_NOSUID;
  if ((attributes & MOUNT_ATTR_NODEV) != 0) flags |= MS_NODEV;
  if ((attributes & MOUNT_ATTR_NOEXEC) != 0) flags |= MS_NOEXEC;
  char name[16];
  std::snprintf(name, sizeof name, "%d", mount);
  const int here = ::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  const bool done =
      names >= 0 && here >= 0 && ::fchdir(names) == 0 && ::mount(nullptr, name, nullptr, flags, nullptr) == 0;
  const int error_number = errno;
  const bool back = here >= 0 && ::fchdir(here) == 0;
  ::close(names);
  ::close(here);
  errno = error_number;
  return done && back ? 0 : -1;
}

/// Attaches `mount` with these attributes. Where they cannot be set before it is there, they are set at once
/// afterwards: nobody else is in this namespace yet (SBX-52).
int attach_with(int mount, int target, unsigned attributes, bool recursive, int proc) {
  const int set = set_attributes(mount, attributes, recursive);
  if (set == 0) return attach(mount, target);
  if (errno != ENOSYS && errno != EPERM) return -1;
  const int error_number = errno;
  if (attach(mount, target) != 0) return -1;
  if (remount(proc, mount, attributes) == 0) return 0;
  errno = error_number;
  return -1;
}

int clone_of(int dir, const char* path, bool recursive = false) {
  return ::open_tree(dir, path,
                     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW |
                         (*path == '\0' ? AT_EMPTY_PATH : 0) | (recursive ? AT_RECURSIVE : 0));
}

struct Option {
  const char* key;
  const char* value;  ///< nullptr: a flag
  bool optional = false;
};

/// A new file system, mounted nowhere yet; -1 and errno when that is not possible.
int new_mount(const char* type, const Option* options, int option_count, unsigned attributes) {
  const int context = ::fsopen(type, FSOPEN_CLOEXEC);
  if (context < 0) return -1;
  int failed = 0;
  for (int i = 0; i < option_count && failed == 0; ++i) {
    const Option& option = options[i];
    const unsigned how = option.value == nullptr ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING;
    failed = ::fsconfig(context, how, option.key, option.value, 0);
    if (option.optional) failed = 0;
  }
  if (failed == 0) failed = ::fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0);
  const int mount = failed == 0 ? ::fsmount(context, FSMOUNT_CLOEXEC, attributes) : -1;
  const int error_number = errno;
  ::close(context);
  errno = error_number;
  return mount;
}

/// /proc, /sys and /dev are never reached through a link of the image (SBX-41).
int open_system_dir(const Launch& launch, int root, const char* name, Stage stage) {
  const int fd = open_beneath(root, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  if (fd < 0) give_up(launch, stage, name);
  return fd;
}

/// A new /proc shows the process namespace of who mounts it. A command that has none of its own sees the one
/// that is there.
int attach_proc(const Launch& launch, int root) {
  const int proc = launch.request->shared_processes != 0 ? clone_of(AT_FDCWD, "/proc", true)
                                                         : new_mount("proc", nullptr, 0, kSafe);
  if (proc < 0 || attach(proc, open_system_dir(launch, root, "proc", Stage::proc)) != 0)
    give_up(launch, Stage::proc, "/proc");
  return proc;
}

void attach_cgroup(int sys, unsigned attributes) {
  const int target = open_beneath(sys, "fs/cgroup", O_PATH | O_DIRECTORY);
  if (target < 0) return;
  const int cgroup = new_mount("cgroup2", nullptr, 0, attributes);
  if (cgroup >= 0) attach(cgroup, target);  // without version 2 there is none in the sandbox (SBX-50)
}

/// sysfs shows a network namespace and may be mounted only by its owner; elsewhere the builder's own is
/// shown, but then as it is, with everything below.
int attach_sys(const Launch& launch, int root) {
  const unsigned attributes =
      kSafe | (launch.request->insecure != 0 ? 0u : static_cast<unsigned>(MOUNT_ATTR_RDONLY));
  int sys = new_mount("sysfs", nullptr, 0, attributes);
  const bool own = sys >= 0;
  if (!own) {
    sys = clone_of(AT_FDCWD, "/sys", true);
    // No way around mount_setattr: those below must get the attributes as well.
    if (sys < 0 || set_attributes(sys, attributes, true) != 0) give_up(launch, Stage::sys, "/sys");
  }
  if (attach(sys, open_system_dir(launch, root, "sys", Stage::sys)) != 0) give_up(launch, Stage::sys, "/sys");
  if (own) attach_cgroup(sys, attributes);
  return sys;
}

void bind_device(const Launch& launch, int dev, const char* name, int mount) {
  if (::mknodat(dev, name, S_IFREG | 0666, 0) != 0) give_up(launch, Stage::device, name);
  const int target = ::openat(dev, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (target < 0 || attach(mount, target) != 0) give_up(launch, Stage::device, name);
}

void attach_below_dev(const Launch& launch, int dev, const char* name, int mount, Stage stage,
                      bool optional = false) {
  if (mount < 0 && optional) return;
  if (mount < 0 || ::mkdirat(dev, name, 0755) != 0) give_up(launch, stage, name);
  const int target = ::openat(dev, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (target < 0 || attach(mount, target) != 0) give_up(launch, stage, name);
}

/// What the command fills of it is memory it uses.
void report_memory(const Launch& launch, int mount) {
  const PrivateMemory answer;
  if (launch.request->report_memory != 0) send_answer(launch.fds[fd_reply], &answer, sizeof answer, mount);
}

/// Everything is made through the descriptor of the new tmpfs: nothing in the image can redirect it (SBX-42).
void attach_dev(const Launch& launch, int root) {
  const Option dev_options[] = {{"mode", "755"}, {"size", "64m"}};
  const int dev = new_mount("tmpfs", dev_options, 2, MOUNT_ATTR_NOSUID | launch.request->root_attributes);
  if (dev < 0 || attach(dev, open_system_dir(launch, root, "dev", Stage::dev)) != 0)
    give_up(launch, Stage::dev, "/dev");
  report_memory(launch, dev);

  const Option pts_options[] = {
      {"mode", "620"}, {"ptmxmode", "666"}, {"newinstance", nullptr, true}, {"gid", "5"}};
  const int pts_count = launch.request->tty_gid == kNone ? 3 : 4;
  attach_below_dev(launch, dev, "pts",
                   new_mount("devpts", pts_options, pts_count, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC),
                   Stage::dev_pts);
  char size[24];
  std::snprintf(size, sizeof size, "%llu", static_cast<unsigned long long>(launch.request->shm_size));
  const Option shm_options[] = {{"mode", "1777"}, {"size", size}};
  const int shm = new_mount("tmpfs", shm_options, 2, kSafe);
  attach_below_dev(launch, dev, "shm", shm, Stage::dev_shm);
  report_memory(launch, shm);
  attach_below_dev(launch, dev, "mqueue", new_mount("mqueue", nullptr, 0, kSafe), Stage::dev, true);

  const struct {
    const char* name;
    int fd;
  } devices[] = {{"null", fd_null},     {"zero", fd_zero},       {"full", fd_full},
                 {"random", fd_random}, {"urandom", fd_urandom}, {"tty", fd_tty}};
  for (const auto& device : devices) bind_device(launch, dev, device.name, launch.fds[device.fd]);

  const char* const links[][2] = {{"fd", "/proc/self/fd"},
                                  {"stdin", "/proc/self/fd/0"},
                                  {"stdout", "/proc/self/fd/1"},
                                  {"stderr", "/proc/self/fd/2"},
                                  {"ptmx", "pts/ptmx"}};
  for (const auto& link : links)
    if (::symlinkat(link[1], dev, link[0]) != 0) give_up(launch, Stage::dev, link[0]);
}

/// Makes what is missing of a target. Targets in the image exist already: this is for those inside other
/// mounts.
int create_target(const Launch& launch, int root, const char* target, bool is_file) {
  char prefix[4096];
  const std::size_t length = std::strlen(target);
  if (length >= sizeof prefix) {
    errno = ENAMETOOLONG;
    give_up(launch, Stage::mount_target, target);
  }
  int parent = ::openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (std::size_t start = 0; start <= length;) {
    const char* slash = std::strchr(target + start, '/');
    const std::size_t end = slash == nullptr ? length : static_cast<std::size_t>(slash - target);
    const bool last = end == length;
    std::memcpy(prefix, target, end);
    prefix[end] = '\0';
    int next = open_in_root(root, prefix, O_PATH | (last ? 0 : O_DIRECTORY));
    if (next < 0 && errno == ENOENT) {
      const char* name = prefix + start;
      const int made =
          last && is_file ? ::mknodat(parent, name, S_IFREG | 0644, 0) : ::mkdirat(parent, name, 0755);
      if (made == 0 || errno == EEXIST) next = open_in_root(root, prefix, O_PATH | (last ? 0 : O_DIRECTORY));
    }
    if (next < 0) give_up(launch, Stage::mount_target, target);
    ::close(parent);
    parent = next;
    start = end + 1;
  }
  return parent;
}

int mount_source(const Launch& launch, const LaunchMount& mount, int scratch) {
  if (mount.fd == kNone) return clone_of(launch.fds[fd_context], launch.string(mount.source));
  const int whole = launch.fds[mount.fd];
  if (mount.inner == kNone) return whole;
  // Parts can be taken of attached mounts only (before 6.15); what is put over the old /proc goes with the
  // old root.
  if (attach(whole, scratch) != 0) return -1;
  return clone_of(whole, launch.string(mount.inner));
}

void attach_mount(const Launch& launch, const LaunchMount& mount, int root, int proc, int scratch) {
  const char* target = launch.string(mount.target);
  const int source = mount_source(launch, mount, scratch);
  if (source < 0) give_up(launch, Stage::mount, target);
  int place = open_in_root(root, target, O_PATH | (mount.on_link != 0 ? O_NOFOLLOW : 0));
  if (place < 0 && errno == ENOENT) place = create_target(launch, root, target, mount.is_file != 0);
  if (place < 0) give_up(launch, Stage::mount_target, target);
  if (attach_with(source, place, mount.attributes, true, proc) != 0) give_up(launch, Stage::mount, target);
  ::close(place);
}

void make_read_only(const Launch& launch, int proc) {
  for (const char* path : {"bus", "fs", "irq", "sys", "sysrq-trigger"}) {
    const int target = open_beneath(proc, path, O_PATH);
    if (target < 0 && errno == ENOENT) continue;
    const int copy = target < 0 ? -1 : clone_of(target, "");
    if (copy < 0 || attach_with(copy, target, kSafe | MOUNT_ATTR_RDONLY, false, proc) != 0)
      give_up(launch, Stage::read_only_paths, path);
    ::close(target);
    ::close(copy);
  }
}

/// Covers `path`, a file by the host's null device, a directory by an empty one; all share one tmpfs
/// (SBX-51). False when there is nothing to cover.
bool mask(const Launch& launch, int fs, const char* path, int empty_dir) {
  const int target = open_beneath(fs, path, O_PATH);
  if (target < 0 && (errno == ENOENT || errno == ENOTDIR)) return false;
  struct stat info {};
  if (target < 0 || ::fstat(target, &info) != 0) give_up(launch, Stage::mask_paths, path);
  const int cover = clone_of(S_ISDIR(info.st_mode) ? empty_dir : launch.fds[fd_null], "");
  if (cover < 0 || attach(cover, target) != 0) give_up(launch, Stage::mask_paths, path);
  ::close(target);
  ::close(cover);
  return true;
}

void mask_paths(const Launch& launch, int proc, int sys, int scratch) {
  const Option options[] = {{"nr_blocks", "1"}, {"nr_inodes", "1"}, {"mode", "555"}};
  const int empty = new_mount("tmpfs", options, 3, kSafe | MOUNT_ATTR_RDONLY);
  if (empty < 0 || attach(empty, scratch) != 0) give_up(launch, Stage::mask_paths, "");
  for (const char* path : {"acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug",
                           "scsi", "timer_list", "timer_stats"})
    mask(launch, proc, path, empty);
  for (const char* path : {"firmware", "devices/virtual/powercap"}) mask(launch, sys, path, empty);
  for (unsigned cpu = 0;; ++cpu) {
    char path[80];
    std::snprintf(path, sizeof path, "devices/system/cpu/cpu%u", cpu);
    if (::faccessat(sys, path, F_OK, AT_SYMLINK_NOFOLLOW) != 0) break;
    std::snprintf(path, sizeof path, "devices/system/cpu/cpu%u/thermal_throttle", cpu);
    mask(launch, sys, path, empty);
  }
}

void change_root(const Launch& launch, int root) {
  const int old_root = ::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (old_root < 0 || ::fchdir(root) != 0 || ::syscall(SYS_pivot_root, ".", ".") != 0)
    give_up(launch, Stage::pivot_root, "/");
  if (::fchdir(old_root) != 0 || ::mount(nullptr, ".", nullptr, MS_REC | MS_SLAVE, nullptr) != 0 ||
      ::umount2(".", MNT_DETACH) != 0 || ::chdir("/") != 0)
    give_up(launch, Stage::detach_old_root, "/");
  ::close(old_root);
}

}  // namespace

void enter_chroot(const Launch& launch) {
  if (::fchdir(launch.fds[fd_root]) != 0 || ::chroot(".") != 0 || ::chdir("/") != 0)
    give_up(launch, Stage::change_root, "/");
}

void enter_root(const Launch& launch) {
  // First of all, or what follows could spread to the host.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    give_up(launch, Stage::propagation, "/");
  const int old_dev = ::open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (old_dev < 0 || attach(launch.fds[fd_root], old_dev) != 0) give_up(launch, Stage::attach_root, "/");
  const int root = launch.fds[fd_root];
  const int proc = attach_proc(launch, root);
  const unsigned attributes = launch.request->root_attributes;
  if (set_attributes(root, attributes, false) != 0 && remount(proc, root, attributes) != 0)
    give_up(launch, Stage::attach_root, "/");
  const int sys = attach_sys(launch, root);
  attach_dev(launch, root);
  // The old /proc was needed up to here: in a user namespace a new one may only be mounted while it is in
  // full view.
  const int scratch = ::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (scratch < 0 || attach(launch.fds[fd_context], scratch) != 0) give_up(launch, Stage::context, "");
  if (launch.request->insecure == 0) {
    make_read_only(launch, proc);
    mask_paths(launch, proc, sys, scratch);
  }
  const auto* mounts = launch.array<LaunchMount>(launch.request->mounts);
  for (std::uint32_t i = 0; i < launch.request->mounts.count; ++i)
    attach_mount(launch, mounts[i], root, proc, scratch);
  change_root(launch, root);
}

}  // namespace imgbuild::launch
