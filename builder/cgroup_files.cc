#include "builder/cgroup_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/strings.h"

namespace imgbuild::builder {

namespace {

class KernelCgroupFiles final : public CgroupFiles {
 public:
  int make_dir(const std::string& path) override { return ::mkdir(path.c_str(), 0755) == 0 ? 0 : errno; }
  int remove_dir(const std::string& path) override { return ::rmdir(path.c_str()) == 0 ? 0 : errno; }

  int write(const std::string& path, const std::string& value) override {
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!file) return errno;
    return ::write(file.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size()) ? 0 : errno;
  }

  std::optional<std::string> read(const std::string& path) override {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return std::nullopt;
    std::string text(64 * 1024, '\0');
    const ssize_t size = ::read(file.get(), text.data(), text.size());
    if (size < 0) return std::nullopt;
    text.resize(static_cast<std::size_t>(size));
    return text;
  }

  std::vector<std::string> sub_dirs(const std::string& path) override {
    std::vector<std::string> names;
    DIR* dir = ::opendir(path.c_str());
    if (dir == nullptr) return names;
    while (const dirent* item = ::readdir(dir))
      if (item->d_type == DT_DIR && item->d_name[0] != '.') names.emplace_back(item->d_name);
    ::closedir(dir);
    return names;
  }

  UniqueFd open(const std::string& path, int flags) override { return open_path(path, flags); }

  bool is_writable(const std::string& dir) override {
    // The write test of the permission bits is not enough: the file system may be mounted read-only.
    return ::access(dir.c_str(), W_OK) == 0 && ::access(cat(dir, "/cgroup.procs").c_str(), W_OK) == 0;
  }
};

}  // namespace

CgroupFiles& kernel_cgroup_files() {
  static KernelCgroupFiles files;
  return files;
}

}  // namespace imgbuild::builder
