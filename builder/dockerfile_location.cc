#include "builder/dockerfile_location.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "parser/limits.h"

namespace imgbuild::builder {

namespace {

constexpr std::size_t kMaxNamesCompared = 10'000;

struct DirCloser {
  void operator()(DIR* dir) const noexcept { ::closedir(dir); }
};

/// `a/b` -> {"a", "b"}; `b` -> {"", "b"}; `/b` -> {"/", "b"}.
std::pair<std::string, std::string> split_path(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return {std::string(), path};
  return {path.substr(0, std::max<std::size_t>(slash, 1)), path.substr(slash + 1)};
}

std::string beside(const std::string& path, const std::string& name) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? name : path.substr(0, slash + 1) + name;
}

/// Opens files of one directory under the rules of FS-52.
class Place {
 public:
  Place(const std::string& directory, PathTrust trust) : root_(RootDir::open(directory)), trust_(trust) {}

  /// Empty when there is no such file.
  UniqueFd open(const std::string& path, int flags) const {
    if ((flags & O_PATH) == 0) flags |= O_NOCTTY | O_NONBLOCK;
    try {
      if (trust_ == PathTrust::confined) return root_.open_in_root(path, flags);
      UniqueFd fd(::openat(root_.fd(), path.c_str(), flags | O_CLOEXEC));
      if (!fd) throw SystemError(errno, "open", printable(path));
      return fd;
    } catch (const SystemError& error) {
      if (error.error_number() == ENOENT || error.error_number() == ENOTDIR) return UniqueFd();
      throw;
    }
  }

  /// The text of a regular file, null when there is none. What it is is asked before it is opened for
  /// reading, so that a device or FIFO is never touched; the descriptor read from is checked again.
  std::shared_ptr<const SourceText> read(const std::string& path, std::uint64_t limit) const {
    const UniqueFd probe = open(path, O_PATH);
    if (!probe) return nullptr;
    struct stat info {};
    if (::fstat(probe.get(), &info) != 0) throw SystemError(errno, "stat", printable(path));
    if (S_ISDIR(info.st_mode)) throw Error(cat(printable(path), " is a directory, not a file"));
    if (!S_ISREG(info.st_mode)) throw Error(cat(printable(path), " is not a regular file"));
    const UniqueFd fd = open(path, O_RDONLY);
    if (!fd) return nullptr;
    return std::make_shared<const SourceText>(path, read_file(fd.get(), limit, path));
  }

  /// File names in the directory of `path`, for suggestions only: errors give none.
  std::vector<std::string> names_beside(const std::string& path) const {
    const std::string parent = split_path(path).first;
    UniqueFd fd;
    try {
      fd = open(parent.empty() ? std::string(".") : parent, O_RDONLY | O_DIRECTORY);
    } catch (const SystemError&) {
      return {};
    }
    if (!fd) return {};
    const std::unique_ptr<DIR, DirCloser> dir(::fdopendir(fd.get()));
    if (!dir) return {};
    fd.release();
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(dir.get())) {
      if (entry->d_type != DT_DIR) names.emplace_back(entry->d_name);
      if (names.size() == kMaxNamesCompared) break;
    }
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  RootDir root_;
  PathTrust trust_;
};

/// Names like `wanted`: few letters apart, or a Dockerfile by its looks (`Dockerfile.prod`,
/// `api.dockerfile`).
std::vector<std::string> similar_names(const std::string& wanted, const std::vector<std::string>& names) {
  std::vector<std::string> similar;
  if (const auto close = nearest(wanted, names)) similar.push_back(*close);
  for (const std::string& name : names) {
    const std::string lower = to_lower(name);
    const bool looks =
        lower.starts_with("dockerfile") || lower.ends_with(".dockerfile") || lower == "containerfile";
    const bool known = std::find(similar.begin(), similar.end(), name) != similar.end();
    if (looks && !known && !lower.ends_with(".dockerignore") && similar.size() < 3) similar.push_back(name);
  }
  return similar;
}

[[noreturn]] void fail_missing(const Place& place, const std::string& directory, const std::string& path) {
  Error error(cat("failed to read dockerfile: open ", printable(path), ": no such file or directory"));
  const std::vector<std::string> similar = similar_names(split_path(path).second, place.names_beside(path));
  if (similar.empty()) {
    error.add_note(cat("looked in ", printable(directory), "; name another file with -f"));
  } else {
    std::vector<std::string> shown;
    for (const std::string& name : similar) shown.push_back(printable(beside(path, name)));
    error.add_note(cat("did you mean ", join(shown, " or "), "? name it with -f"));
  }
  throw error;
}

}  // namespace

std::shared_ptr<const SourceText> read_dockerfile(const std::string& directory, const std::string& path,
                                                  PathTrust trust) {
  if (path.empty()) throw Error("the path of the Dockerfile is empty");
  const Place place(directory, trust);
  if (auto text = place.read(path, parser::kMaxDockerfileBytes)) return text;
  if (split_path(path).second == "Dockerfile") {
    if (auto text = place.read(beside(path, "dockerfile"), parser::kMaxDockerfileBytes)) return text;
  }
  fail_missing(place, directory, path);
}

std::shared_ptr<const SourceText> find_ignore_file(const std::string& context, const std::string& dockerfile,
                                                   PathTrust trust) {
  const Place place(context, trust);
  if (!dockerfile.empty()) {
    if (auto text = place.read(dockerfile + ".dockerignore", parser::kMaxIgnoreFileBytes)) return text;
  }
  return place.read(".dockerignore", parser::kMaxIgnoreFileBytes);
}

}  // namespace imgbuild::builder
