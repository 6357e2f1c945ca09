#include "builder/tree_covers.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "builder/sandbox_mounts.h"
#include "builder/secrets.h"

namespace imgbuild::builder {

namespace {

using Kind = SandboxMount::Kind;

/// Keeps the times of a directory over changes that must not show.
class TimesKept {
 public:
  explicit TimesKept(int dir) : dir_(dir) { known_ = ::fstat(dir, &info_) == 0; }
  ~TimesKept() {
    const timespec times[] = {info_.st_atim, info_.st_mtim};
    if (known_) ::futimens(dir_, times);
  }
  TimesKept(const TimesKept&) = delete;
  TimesKept& operator=(const TimesKept&) = delete;

 private:
  int dir_;
  struct stat info_ {};
  bool known_ = false;
};

std::vector<std::string> names_in(int dir) {
  UniqueFd copy = open_at(dir, ".", O_RDONLY | O_DIRECTORY);
  DIR* stream = ::fdopendir(copy.get());
  if (stream == nullptr) throw SystemError(errno, "read directory", "mount source");
  static_cast<void>(copy.release());
  std::vector<std::string> names;
  while (const dirent* item = ::readdir(stream))
    if (std::strcmp(item->d_name, ".") != 0 && std::strcmp(item->d_name, "..") != 0)
      names.emplace_back(item->d_name);
  ::closedir(stream);
  return names;
}

void move_content(int from, int to) {
  for (const auto& name : names_in(from))
    if (::renameat2(from, name.c_str(), to, name.c_str(), RENAME_NOREPLACE) != 0)
      throw SystemError(errno, "move", name);
}

void take_attributes(int from, int to) {
  struct stat info {};
  if (::fstat(from, &info) != 0 || ::fchown(to, info.st_uid, info.st_gid) != 0 ||
      ::fchmod(to, info.st_mode & 07777) != 0)
    throw SystemError(errno, "copy attributes of", "mount source");
}

bool in_memory(int dir) {
  struct statfs info {};
  return ::fstatfs(dir, &info) == 0 && (info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC);
}

std::size_t depth(const std::string& target) {
  return static_cast<std::size_t>(std::count(target.begin(), target.end(), '/'));
}

}  // namespace

TreeCovers::TreeCovers(int root, int scratch_dir, const Options& options)
    : root_(root), options_(options), aside_(TempDir::create(scratch_dir, ".aside-")), stubs_(root, root) {}

TreeCovers::~TreeCovers() {
  try {
    remove_all();
  } catch (const std::exception&) {
    // The root is thrown away after a failure, so nothing of this reaches a layer.
  }
}

TreeCovers::Cover& TreeCovers::begin(const std::string& path, bool as_directory, bool cover_link) {
  const auto place = stubs_.ensure(path, as_directory, cover_link, {});
  const auto slash = place.path.rfind('/');
  Cover cover;
  cover.parent = RootDir(UniqueFd(::fcntl(root_, F_DUPFD_CLOEXEC, 0)))
                     .open_beneath(slash == std::string::npos ? "." : place.path.substr(0, slash),
                                   O_RDONLY | O_DIRECTORY);
  cover.name = slash == std::string::npos ? place.path : place.path.substr(slash + 1);
  cover.aside = cat(covers_.size());
  const TimesKept times(cover.parent.get());
  if (::renameat(cover.parent.get(), cover.name.c_str(), aside_.fd(), cover.aside.c_str()) != 0)
    throw SystemError(errno, "move aside", place.path);
  covers_.push_back(std::move(cover));
  return covers_.back();
}

UniqueFd TreeCovers::put_directory(const std::string& path, std::uint32_t mode) {
  Cover& cover = begin(path, true, false);
  const TimesKept times(cover.parent.get());
  ensure_dir_at(cover.parent.get(), cover.name, 0700);
  UniqueFd dir = open_at(cover.parent.get(), cover.name, O_RDONLY | O_DIRECTORY);
  if (::fchmod(dir.get(), mode) != 0) throw SystemError(errno, "chmod", path);
  return dir;
}

void TreeCovers::put_file(const std::string& path, std::string_view content, std::uint32_t mode,
                          std::uint32_t uid, std::uint32_t gid, bool cover_link) {
  Cover& cover = begin(path, false, cover_link);
  const TimesKept times(cover.parent.get());
  const UniqueFd file = open_at(cover.parent.get(), cover.name, O_WRONLY | O_CREAT | O_EXCL, 0600);
  write_all(file.get(), content, path);
  if (::fchown(file.get(), uid, gid) != 0) throw SystemError(errno, "chown", path);
  if (::fchmod(file.get(), mode) != 0) throw SystemError(errno, "chmod", path);
}

void TreeCovers::put_devices() {
  const UniqueFd dev = put_directory("dev", 0755);
  const struct {
    const char* name;
    unsigned major_number, minor_number;
  } devices[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
                 {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
  for (const auto& device : devices) {
    if (::mknodat(dev.get(), device.name, S_IFCHR | 0666,
                  makedev(device.major_number, device.minor_number)) != 0 ||
        ::fchmodat(dev.get(), device.name, 0666, 0) != 0)
      throw SystemError(errno, "make device", device.name);
  }
  const char* const links[][2] = {{"fd", "/proc/self/fd"},
                                  {"stdin", "/proc/self/fd/0"},
                                  {"stdout", "/proc/self/fd/1"},
                                  {"stderr", "/proc/self/fd/2"}};
  for (const auto& link : links)
    if (::symlinkat(link[1], dev.get(), link[0]) != 0) throw SystemError(errno, "make link", link[0]);
  for (const auto& [name, mode] :
       {std::pair("shm", 01777u), std::pair("pts", 0755u), std::pair("mqueue", 01777u)}) {
    ensure_dir_at(dev.get(), name, 0755);
    if (::fchmodat(dev.get(), name, mode, 0) != 0) throw SystemError(errno, "chmod", name);
  }
}

/// Another node of the same device. Whether it may be opened is up to the container around us.
void TreeCovers::put_device(const std::string& target, int source) {
  struct stat info {};
  if (::fstat(source, &info) != 0) throw SystemError(errno, "stat", "device");
  Cover& cover = begin(target, false, false);
  const TimesKept times(cover.parent.get());
  if (::mknodat(cover.parent.get(), cover.name.c_str(), info.st_mode, info.st_rdev) != 0 ||
      ::fchmodat(cover.parent.get(), cover.name.c_str(), info.st_mode & 07777, 0) != 0 ||
      ::fchownat(cover.parent.get(), cover.name.c_str(), info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) != 0)
    throw SystemError(errno, "make device", target);
}

void TreeCovers::put_bind(const std::string& target, int source, bool give_back) {
  struct stat info {};
  if (::fstat(source, &info) != 0) throw SystemError(errno, "stat", "mount source");
  if (S_ISDIR(info.st_mode)) {
    const UniqueFd from = open_at(source, ".", O_RDONLY | O_DIRECTORY);
    const UniqueFd to = put_directory(target, 0700);
    take_attributes(from.get(), to.get());
    if (give_back) covers_.back().give_back_to = from.duplicate();
    move_content(from.get(), to.get());
    return;
  }
  Cover& cover = begin(target, false, false);
  const TimesKept times(cover.parent.get());
  if (::linkat(AT_FDCWD, cat("/proc/self/fd/", source).c_str(), cover.parent.get(), cover.name.c_str(),
               AT_SYMLINK_FOLLOW) != 0)
    throw SystemError(errno, "link", target);
}

void TreeCovers::put_mount(const SandboxMount& mount) {
  const std::string target = clean_mount_target(mount.target, mount.device);
  switch (mount.kind) {
    case Kind::tmpfs:
      put_directory(target, mount.mode);
      return;
    case Kind::file:
      if (mount.secret && !options_.allow_secrets && !in_memory(root_)) {
        UnsupportedError error(cat("the secret for ", printable(target),
                                   " would be written to a disk: without mounts a secret is a file"));
        error.add_note("give it as a variable: RUN --mount=type=secret,id=…,env=NAME");
        error.add_note("or put the store in memory: --root on a tmpfs");
        error.add_note("or allow it: --allow-disk-secrets");
        throw error;
      }
      put_file(target, mount.secret ? mount.secret->value() : mount.content, mount.mode, mount.uid, mount.gid,
               false);
      return;
    case Kind::bind:
      if (mount.of_host)
        throw UnsupportedError(
            cat("what belongs at ", printable(target),
                " is a file of this machine, which cannot be lent to a command without mounts"));
      if (mount.device)
        put_device(target, mount.source_fd);
      else
        put_bind(target, mount.source_fd, true);
      return;
    case Kind::overlay: {
      // Links in the source stay inside the tree they are in (CVE-2024-1753).
      MountStubs no_stubs(mount.lower_dirs.front(), -1);
      const auto inner = no_stubs.find(mount.source_path);
      const RootDir whole(UniqueFd(::fcntl(mount.lower_dirs.front(), F_DUPFD_CLOEXEC, 0)));
      const UniqueFd source = whole.open_beneath(inner.path.empty() ? "." : inner.path, O_PATH | O_NOFOLLOW);
      put_bind(target, source.get(), false);
      return;
    }
  }
}

void TreeCovers::add_all(const SandboxSpec& spec) {
  for (const char* name : {"proc", "sys", "dev"}) stubs_.ensure_real_directory(name);
  put_directory("proc", 0555);
  put_directory("sys", 0555);
  put_devices();
  put_file("etc/resolv.conf", spec.resolv_conf, 0644, 0, 0, true);
  put_file("etc/hosts", hosts_file(spec), 0644, 0, 0, true);
  std::vector<const SandboxMount*> order;
  for (const auto& mount : spec.mounts) order.push_back(&mount);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return depth(clean_mount_target(a->target, a->device)) < depth(clean_mount_target(b->target, b->device));
  });
  for (const auto* mount : order) put_mount(*mount);
}

void TreeCovers::remove(Cover& cover) {
  const TimesKept times(cover.parent.get());
  if (cover.give_back_to) {
    // Where the command replaced the directory itself, nothing of it is ours to take back.
    const UniqueFd dir(
        ::openat(cover.parent.get(), cover.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (dir) {
      take_attributes(dir.get(), cover.give_back_to.get());
      move_content(dir.get(), cover.give_back_to.get());
    }
  }
  struct stat info {};
  if (::fstatat(cover.parent.get(), cover.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    if (S_ISDIR(info.st_mode)) {
      remove_tree_at(cover.parent.get(), cover.name);
    } else if (::unlinkat(cover.parent.get(), cover.name.c_str(), 0) != 0) {
      throw SystemError(errno, "remove", cover.name);
    }
  }
  if (::renameat(aside_.fd(), cover.aside.c_str(), cover.parent.get(), cover.name.c_str()) != 0 &&
      errno != ENOENT)
    throw SystemError(errno, "put back", cover.name);
}

void TreeCovers::leave() noexcept {
  covers_.clear();
  aside_.release();
}

void TreeCovers::remove_all() {
  while (!covers_.empty()) {
    Cover cover = std::move(covers_.back());
    covers_.pop_back();
    remove(cover);
  }
  stubs_.clean();
}

}  // namespace imgbuild::builder
