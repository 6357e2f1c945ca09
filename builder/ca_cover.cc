#include "builder/ca_cover.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "builder/mount_stubs.h"

namespace imgbuild::builder {

namespace {

constexpr std::uint64_t kMaxBundle = std::uint64_t{16} << 20;

void set_times(int fd, const struct stat& info) {
  const timespec times[] = {info.st_atim, info.st_mtim};
  if (::futimens(fd, times) != 0) throw SystemError(errno, "set the time of", "a certificate bundle");
}

bool same_time(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

struct stat stat_of(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) throw SystemError(errno, "stat", "a certificate bundle");
  return info;
}

/// Nothing, or nothing of that kind, has this name any more.
bool is_gone(int error) {
  return error == ENOENT || error == ENOTDIR || error == ELOOP || error == EISDIR || error == ENXIO;
}

/// A directory of the upper layer, by names that are no links.
UniqueFd open_directory(int upper, const std::vector<std::string>& components) {
  UniqueFd dir = open_at(upper, ".", O_RDONLY | O_DIRECTORY);
  for (const auto& name : components) {
    if (!dir) break;
    dir.reset(::openat(dir.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!dir && !is_gone(errno)) throw SystemError(errno, "open", name);
  }
  return dir;
}

}  // namespace

const std::vector<std::string>& ca_bundle_paths() {
  static const std::vector<std::string> paths = {
      "/etc/ssl/certs/ca-certificates.crt",
      "/etc/ssl/cert.pem",
      "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
      "/etc/pki/tls/certs/ca-bundle.crt",
      "/etc/pki/tls/cert.pem",
      "/etc/ssl/ca-bundle.pem",
      "/var/lib/ca-certificates/ca-bundle.pem",
  };
  return paths;
}

void CaCover::add(const std::string& pem) {
  added_ = cat("\n", pem, pem.ends_with('\n') ? "" : "\n");
  for (const auto& path : ca_bundle_paths()) add_to(path);
}

void CaCover::add_to(const std::string& path) {
  std::string place;
  try {
    const auto found = MountStubs(root_, -1).find(path);
    if (found.is_directory) return;
    place = found.path;
  } catch (const Error&) {
    return;  // this image has no bundle there
  }
  std::vector<std::string> parent;
  for (const auto part : split(place, '/')) parent.emplace_back(part);
  Cover cover{.parent = std::move(parent)};
  cover.name = std::move(cover.parent.back());
  cover.parent.pop_back();
  const RootDir root(UniqueFd(::fcntl(root_, F_DUPFD_CLOEXEC, 0)));
  const UniqueFd found = root.open_beneath(place, O_PATH);
  cover.before = stat_of(found.get());
  const bool usable =
      S_ISREG(cover.before.st_mode) && static_cast<std::uint64_t>(cover.before.st_size) <= kMaxBundle;
  const bool seen = std::any_of(covers_.begin(), covers_.end(), [&](const Cover& other) {
    return other.parent == cover.parent && other.name == cover.name;
  });
  if (!usable || seen) return;
  const UniqueFd dir =
      root.open_beneath(cover.parent.empty() ? "." : join(cover.parent, "/"), O_RDONLY | O_DIRECTORY);
  cover.parent_before = stat_of(dir.get());
  const UniqueFd file = open_at(dir.get(), cover.name, O_WRONLY | O_APPEND | O_NONBLOCK);
  write_all(file.get(), added_, "a certificate bundle");
  set_times(file.get(), cover.before);
  const UniqueFd above = open_directory(upper_, cover.parent);
  if (!above || ::fstatat(above.get(), cover.name.c_str(), &cover.made, AT_SYMLINK_NOFOLLOW) != 0)
    throw SystemError(errno, "find again", path);
  covers_.push_back(std::move(cover));
}

void CaCover::remove() {
  for (const auto& cover : covers_) remove_from(cover);
  covers_.clear();
}

void CaCover::remove_from(const Cover& cover) const {
  const UniqueFd dir = open_directory(upper_, cover.parent);
  if (!dir) return;
  const UniqueFd file(::openat(dir.get(), cover.name.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file && !is_gone(errno)) throw SystemError(errno, "open", cover.name);
  if (!file) return;  // gone, or something else by now
  const struct stat now = stat_of(file.get());
  if (!S_ISREG(now.st_mode)) return;
  if (static_cast<std::uint64_t>(now.st_size) > kMaxBundle + added_.size()) return;
  std::string text = read_file(file.get(), kMaxBundle + added_.size(), "a certificate bundle");
  const auto at = text.rfind(added_);
  if (at == std::string::npos) return;  // replaced by the command
  const bool untouched = now.st_ino == cover.made.st_ino && now.st_size == cover.made.st_size &&
                         now.st_mode == cover.made.st_mode && now.st_uid == cover.made.st_uid &&
                         now.st_gid == cover.made.st_gid && now.st_nlink == cover.made.st_nlink &&
                         same_time(now.st_mtim, cover.made.st_mtim) &&
                         at == static_cast<std::size_t>(cover.before.st_size);
  if (untouched && whole_) {
    // The file is the image's own, and what follows its old end is ours.
    if (::ftruncate(file.get(), cover.before.st_size) != 0) throw SystemError(errno, "shorten", cover.name);
    set_times(file.get(), cover.before);
    return;
  }
  if (untouched) {
    const struct stat parent = stat_of(dir.get());
    if (::unlinkat(dir.get(), cover.name.c_str(), 0) != 0) throw SystemError(errno, "remove", cover.name);
    set_times(dir.get(), parent);
    return;
  }
  text.erase(at, added_.size());
  if (::lseek(file.get(), 0, SEEK_SET) != 0 || ::ftruncate(file.get(), 0) != 0)
    throw SystemError(errno, "rewrite", cover.name);
  write_all(file.get(), text, "a certificate bundle");
  set_times(file.get(), now);
}

}  // namespace imgbuild::builder
