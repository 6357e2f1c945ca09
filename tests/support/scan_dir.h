#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>

namespace imgbuild::tests {

/// What stands at one name of a directory on disk.
struct DiskNode {
  struct stat info {};
  std::string content;  ///< of a regular file, or a link's target
  bool opaque = false;
  std::map<std::string, std::string> xattrs;

  bool whiteout() const { return S_ISCHR(info.st_mode) && info.st_rdev == makedev(0, 0); }
  bool directory() const { return S_ISDIR(info.st_mode); }
  std::uint32_t mode() const { return info.st_mode & 07777; }
};

inline std::map<std::string, std::string> xattrs_of(const std::string& path) {
  std::map<std::string, std::string> out;
  std::string names(4096, '\0');
  const ssize_t size = ::llistxattr(path.c_str(), names.data(), names.size());
  for (std::size_t at = 0; size > 0 && at < static_cast<std::size_t>(size);) {
    const std::string name = names.c_str() + at;
    at += name.size() + 1;
    std::string value(4096, '\0');
    const ssize_t length = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    value.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
    out[name] = value;
  }
  return out;
}

inline DiskNode disk_node(const std::string& path) {
  DiskNode node;
  if (::lstat(path.c_str(), &node.info) != 0) throw std::runtime_error("cannot stat " + path);
  if (S_ISREG(node.info.st_mode)) {
    std::ifstream file(path, std::ios::binary);
    node.content.assign(std::istreambuf_iterator<char>(file), {});
  }
  if (S_ISLNK(node.info.st_mode)) {
    char target[4096];
    const ssize_t length = ::readlink(path.c_str(), target, sizeof target);
    node.content.assign(target, static_cast<std::size_t>(length));
  }
  node.xattrs = xattrs_of(path);
  for (const char* name : {"trusted.overlay.opaque", "user.overlay.opaque"}) {
    const auto found = node.xattrs.find(name);
    node.opaque = node.opaque || (found != node.xattrs.end() && found->second == "y");
  }
  return node;
}

/// Everything below `dir`, by relative path.
inline std::map<std::string, DiskNode> scan_dir(const std::string& dir, const std::string& prefix = "") {
  std::map<std::string, DiskNode> out;
  DIR* handle = ::opendir(dir.c_str());
  if (handle == nullptr) throw std::runtime_error("cannot open " + dir);
  while (const dirent* entry = ::readdir(handle)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    const DiskNode node = disk_node(dir + "/" + name);
    if (node.directory()) out.merge(scan_dir(dir + "/" + name, prefix + name + "/"));
    out[prefix + name] = node;
  }
  ::closedir(handle);
  return out;
}

}  // namespace imgbuild::tests
