#include "base/path_walk.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "base/strings.h"

namespace imgbuild {

namespace {

constexpr int kMaxLinks = 40;  // the kernel's own number
constexpr std::size_t kMaxPath = 4096;

enum class Mode { in_root, beneath };

/// One walk. errno tells why it failed.
class Walk {
 public:
  Walk(int root, Mode mode) : root_(root), mode_(mode) {}

  UniqueFd open(std::string_view path, int flags, unsigned mode) {
    if (path.size() >= kMaxPath) return fail(ENAMETOOLONG);
    if (path.find('\0') != std::string_view::npos) return fail(EINVAL);
    if (path.empty()) return fail(ENOENT);
    if (!prepend(path)) return UniqueFd();
    for (;;) {
      if (todo_.empty()) return reopen_here(flags);
      const std::string name = std::move(todo_.back());
      todo_.pop_back();
      if (name == "..") {
        if (!up()) return UniqueFd();
        continue;
      }
      const bool last = todo_.empty();
      const bool follow = !last || is_directory_wanted_ || (flags & O_NOFOLLOW) == 0;
      UniqueFd here(::openat(dir(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      if (!here) {
        if (last && errno == ENOENT && (flags & O_CREAT) != 0) return create(name, flags, mode);
        return UniqueFd();
      }
      struct stat info {};
      if (::fstat(here.get(), &info) != 0) return UniqueFd();
      if (S_ISLNK(info.st_mode) && (flags & O_CREAT) != 0 && (flags & O_EXCL) != 0 && last)
        return fail(EEXIST);
      if (S_ISLNK(info.st_mode) && follow) {
        if (!expand(here.get())) return UniqueFd();
        continue;
      }
      if (last) return open_last(std::move(here), info, name, flags, mode);
      if (!S_ISDIR(info.st_mode)) return fail(ENOTDIR);
      held_.push_back(std::move(here));
    }
  }

 private:
  static UniqueFd fail(int error_number) {
    errno = error_number;
    return UniqueFd();
  }

  int dir() const { return held_.empty() ? root_ : held_.back().get(); }

  /// Puts the names of `path` in front of what is still to be walked.
  bool prepend(std::string_view path) {
    if (path.starts_with('/')) {
      if (mode_ == Mode::beneath) {
        errno = EXDEV;
        return false;
      }
      held_.clear();
    }
    if (todo_.empty() && (path.ends_with('/') || path.ends_with("/."))) is_directory_wanted_ = true;
    const auto names = split(path, '/');
    for (auto name = names.rbegin(); name != names.rend(); ++name)
      if (!name->empty() && *name != ".") todo_.emplace_back(*name);
    return true;
  }

  bool up() {
    if (!held_.empty()) {
      held_.pop_back();
      return true;
    }
    if (mode_ == Mode::in_root) return true;  // as in `/`
    errno = EXDEV;
    return false;
  }

  bool expand(int link) {
    struct statfs fs {};
    if (mode_ == Mode::beneath || ++links_ > kMaxLinks || ::fstatfs(link, &fs) != 0 ||
        fs.f_type == PROC_SUPER_MAGIC) {
      errno = ELOOP;
      return false;
    }
    char target[kMaxPath];
    const ssize_t size = ::readlinkat(link, "", target, sizeof target);
    if (size <= 0 || static_cast<std::size_t>(size) >= sizeof target) {
      errno = size < 0 ? errno : ENAMETOOLONG;
      return false;
    }
    return prepend({target, static_cast<std::size_t>(size)});
  }

  UniqueFd create(const std::string& name, int flags, unsigned mode) const {
    if (is_directory_wanted_) return fail(EISDIR);
    return UniqueFd(::openat(dir(), name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode));
  }

  UniqueFd open_last(UniqueFd here, const struct stat& info, const std::string& name, int flags,
                     unsigned mode) const {
    const bool directory = (flags & O_DIRECTORY) != 0 || is_directory_wanted_;
    if (directory && !S_ISDIR(info.st_mode)) return fail(ENOTDIR);
    if (S_ISLNK(info.st_mode) && (flags & O_PATH) == 0) return fail(ELOOP);
    if ((flags & O_PATH) != 0) return here;
    // Should the name have become a link meanwhile, this fails.
    return UniqueFd(::openat(dir(), name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode));
  }

  /// The path ended where the walk is: at the root, or after a `..`.
  UniqueFd reopen_here(int flags) const {
    if ((flags & O_CREAT) != 0) return fail(EISDIR);
    return UniqueFd(::openat(dir(), ".", flags | O_CLOEXEC));
  }

  const int root_;
  const Mode mode_;
  std::vector<UniqueFd> held_;     ///< the directories on the way down
  std::vector<std::string> todo_;  ///< names still to be walked, the next one last
  bool is_directory_wanted_ = false;
  int links_ = 0;
};

}  // namespace

UniqueFd walk_in_root(int root, std::string_view path, int flags, unsigned mode) {
  return Walk(root, Mode::in_root).open(path, flags, mode);
}

UniqueFd walk_beneath(int root, std::string_view path, int flags, unsigned mode) {
  return Walk(root, Mode::beneath).open(path, flags, mode);
}

}  // namespace imgbuild
