#include "builder/mount_stubs.h"

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>

#include "base/dir_list.h"
#include "base/error.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "builder/fuse_marks.h"

namespace imgbuild::builder {

namespace {

constexpr int kMaxLinks = 40;

std::string joined(const std::vector<std::string>& components) { return join(components, "/"); }

std::string read_link(int dir, const std::string& name) {
  char target[4096];
  const ssize_t size = ::readlinkat(dir, name.c_str(), target, sizeof target);
  if (size < 0) throw SystemError(errno, "read link", name);
  return {target, static_cast<std::size_t>(size)};
}

/// Puts the components of a path in front of those still to be walked.
void push_front(std::deque<std::string>& todo, std::string_view path) {
  const auto parts = split(path, '/');
  for (auto part = parts.rbegin(); part != parts.rend(); ++part)
    if (!part->empty() && *part != ".") todo.emplace_front(*part);
}

/// Nothing, or nothing of that kind, has this name any more.
bool is_missing(int error) { return error == ENOENT || error == ENOTDIR || error == ELOOP; }

bool covers(const std::string& place, const std::string& path) {
  return path.size() > place.size() && path.starts_with(place) && path[place.size()] == '/';
}

bool has_own_xattrs(int dir, const std::string& name) {
  char names[1024];
  const UniqueFd fd = open_at(dir, name, O_RDONLY | O_NONBLOCK);
  const ssize_t size = ::flistxattr(fd.get(), names, sizeof names);
  if (size < 0 && errno == ERANGE) return true;
  if (size < 0 && errno != ENOTSUP) throw SystemError(errno, "list attributes of", name);
  for (const char* at = names; at < names + size; at += std::strlen(at) + 1)
    if (!std::string_view(at).starts_with("trusted.overlay.") &&
        !std::string_view(at).starts_with("user.overlay.") &&
        !std::string_view(at).starts_with("user.fuseoverlayfs."))
      return true;
  return false;
}

/// Takes the marks of fuse-overlayfs out of a directory that has nothing else in it.
void remove_fuse_marks(int dir, const std::string& name) {
  const UniqueFd inside = open_at(dir, name, O_RDONLY | O_DIRECTORY);
  std::vector<std::string> marks;
  bool empty = true;
  list_dir(inside.get(), [&](const DirEntry& entry) {
    struct stat info {};
    if (::fstatat(inside.get(), entry.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      throw SystemError(errno, "stat", printable(entry.name));
    if (fuse_name(entry.name, info) == FuseName::opaque)
      marks.push_back(entry.name);
    else
      empty = false;
  });
  if (!empty) return;
  for (const auto& mark : marks)
    if (::unlinkat(inside.get(), mark.c_str(), 0) != 0) throw SystemError(errno, "remove", mark);
}

}  // namespace

/// The components walked so far, none of them a link, each with its directory held open.
struct MountStubs::Walk {
  explicit Walk(int root) : root_fd(root) {}
  int root_fd;
  std::vector<std::string> names;
  std::vector<UniqueFd> dirs;
  int dir() const { return dirs.empty() ? root_fd : dirs.back().get(); }
  void up() {
    if (names.empty()) return;  // `..` at the root stays there
    names.pop_back();
    dirs.pop_back();
  }
  void down(const std::string& name, UniqueFd fd) {
    names.push_back(name);
    dirs.push_back(std::move(fd));
  }
};

void MountStubs::create(const std::vector<std::string>& parent, const std::string& name, bool directory) {
  const UniqueFd dir = RootDir(UniqueFd(::fcntl(root_, F_DUPFD_CLOEXEC, 0)))
                           .open_beneath(parent.empty() ? "." : joined(parent), O_RDONLY | O_DIRECTORY);
  struct stat before {};
  if (::fstat(dir.get(), &before) != 0) throw SystemError(errno, "stat", joined(parent));
  const int made = directory ? ::mkdirat(dir.get(), name.c_str(), 0755)
                             : ::mknodat(dir.get(), name.c_str(), S_IFREG | 0644, 0);
  if (made != 0) throw SystemError(errno, "create mount point", name);
  // Whatever the umask of this process is.
  if (::fchmodat(dir.get(), name.c_str(), directory ? 0755 : 0644, 0) != 0)
    throw SystemError(errno, "chmod", name);
  const timespec times[] = {before.st_atim, before.st_mtim};
  if (::futimens(dir.get(), times) != 0) throw SystemError(errno, "set the time of", joined(parent));
  Stub stub{parent, name, {}};
  const UniqueFd upper = open_upper(parent);
  if (!upper || ::fstatat(upper.get(), name.c_str(), &stub.made, AT_SYMLINK_NOFOLLOW) != 0)
    throw SystemError(errno, "stat mount point", name);
  stubs_.push_back(std::move(stub));
}

MountStubs::Place MountStubs::ensure(const std::string& path, bool as_directory, bool cover_link,
                                     const std::vector<std::string>& covered) {
  const auto place =
      walk_to(path, as_directory ? Missing::create_directory : Missing::create_file, cover_link, covered);
  if (place.is_directory != as_directory && !place.on_link) {
    throw Error(cat("cannot mount at ", printable(path), ": it is ",
                    place.is_directory ? "a directory" : "not a directory"));
  }
  return place;
}

MountStubs::Place MountStubs::find(const std::string& path) {
  return walk_to(path, Missing::fail, false, {});
}

MountStubs::Place MountStubs::walk_to(const std::string& path, Missing missing, bool cover_link,
                                      const std::vector<std::string>& covered) {
  std::deque<std::string> todo;
  push_front(todo, path);
  Walk walk(root_);
  Place place;
  int links = 0;
  const auto is_covered = [&](const std::string& where) {
    return std::any_of(covered.begin(), covered.end(),
                       [&](const auto& other) { return covers(other, where) || other == where; });
  };
  while (!todo.empty()) {
    const std::string name = std::move(todo.front());
    todo.pop_front();
    if (name == "..") {
      walk.up();
      continue;
    }
    const std::string here = walk.names.empty() ? name : cat(joined(walk.names), "/", name);
    // What lies below another mount is found and made when that mount is there.
    if (is_covered(here) && !todo.empty()) {
      place.path = here;
      for (const auto& rest : todo) place.path += cat("/", rest);
      place.is_directory = missing == Missing::create_directory;
      return place;
    }
    struct stat info {};
    const bool last = todo.empty();
    if (::fstatat(walk.dir(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno != ENOENT || missing == Missing::fail) throw SystemError(errno, "find", path);
      create(walk.names, name, !last || missing == Missing::create_directory);
      place.created = true;
      if (::fstatat(walk.dir(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
        throw SystemError(errno, "stat", name);
    }
    if (S_ISLNK(info.st_mode) && !(last && cover_link)) {
      if (++links > kMaxLinks) throw SystemError(ELOOP, "find mount point", path);
      const std::string target = read_link(walk.dir(), name);
      if (target.starts_with('/')) {
        walk.names.clear();
        walk.dirs.clear();
      }
      push_front(todo, target);
      continue;
    }
    if (last) {
      place.path = here;
      place.is_directory = S_ISDIR(info.st_mode);
      place.on_link = S_ISLNK(info.st_mode);
      break;
    }
    if (!S_ISDIR(info.st_mode))
      throw Error(cat("cannot mount at ", printable(path), ": ", printable(here), " is not a directory"));
    walk.down(name, open_at(walk.dir(), name, O_PATH | O_DIRECTORY));
  }
  if (todo.empty() && place.path.empty()) {  // the path ended with `..`
    place.path = joined(walk.names);
    place.is_directory = true;
  }
  return place;
}

void MountStubs::ensure_real_directory(const std::string& name) {
  struct stat info {};
  if (::fstatat(root_, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno != ENOENT) throw SystemError(errno, "stat", name);
    create({}, name, true);
    return;
  }
  if (S_ISDIR(info.st_mode)) return;
  throw Error(cat("the image has ", S_ISLNK(info.st_mode) ? "a symlink" : "a file", " at /", name,
                  ", where a real directory is needed to run a command"));
}

UniqueFd MountStubs::open_upper(const std::vector<std::string>& components) const {
  UniqueFd dir = open_at(upper_, ".", O_RDONLY | O_DIRECTORY);
  for (const auto& name : components) {
    if (!dir) break;
    dir.reset(::openat(dir.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!dir && !is_missing(errno)) throw SystemError(errno, "open", name);
  }
  return dir;
}

void MountStubs::clean(const Stub& stub) const {
  const UniqueFd dir = open_upper(stub.parent);
  struct stat now {
  }, parent{};
  const auto& made = stub.made;
  if (!dir) return;
  if (::fstatat(dir.get(), stub.name.c_str(), &now, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return;
    throw SystemError(errno, "stat mount point", stub.name);
  }
  const bool same = now.st_ino == made.st_ino && now.st_dev == made.st_dev && now.st_mode == made.st_mode &&
                    now.st_uid == made.st_uid && now.st_gid == made.st_gid;
  if (!same || has_own_xattrs(dir.get(), stub.name)) return;
  if (::fstat(dir.get(), &parent) != 0) throw SystemError(errno, "stat", joined(stub.parent));
  const bool directory = S_ISDIR(now.st_mode);
  if (!directory && (now.st_size != 0 || now.st_nlink != 1)) return;
  if (directory && of_fuse_) remove_fuse_marks(dir.get(), stub.name);
  if (::unlinkat(dir.get(), stub.name.c_str(), directory ? AT_REMOVEDIR : 0) != 0) {
    if (errno == ENOTEMPTY || errno == EEXIST || errno == ENOENT) return;  // the command's by now: it stays
    throw SystemError(errno, "remove mount point", stub.name);
  }
  const timespec times[] = {parent.st_atim, parent.st_mtim};
  if (::futimens(dir.get(), times) != 0) throw SystemError(errno, "set the time of", joined(stub.parent));
}

void MountStubs::clean() {
  for (; !stubs_.empty(); stubs_.pop_back()) clean(stubs_.back());
}

}  // namespace imgbuild::builder
