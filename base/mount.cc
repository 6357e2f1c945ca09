#include "base/mount.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild {

FsContext::FsContext(const std::string& type) : type_(type), fd_(::fsopen(type.c_str(), FSOPEN_CLOEXEC)) {
  if (!fd_) throw SystemError(errno, "prepare a file system of type", type);
}

std::string FsContext::kernel_log() const {
  std::string lines;
  char line[1024];
  ssize_t size = 0;
  while ((size = ::read(fd_.get(), line, sizeof line)) > 0) {
    std::string_view text = trim(std::string_view(line, static_cast<std::size_t>(size)));
    if (text.size() > 2 && text[1] == ' ') text.remove_prefix(2);  // "e ", "w " or "i "
    lines += lines.empty() ? "" : "; ";
    lines += printable(text);
  }
  return lines;
}

void FsContext::fail(int error_number, const std::string& what) const {
  SystemError error(error_number, what, type_);
  if (const std::string log = kernel_log(); !log.empty()) error.add_note(cat("the kernel says: ", log));
  throw error;
}

void FsContext::set_flag(const std::string& key) {
  if (::fsconfig(fd_.get(), FSCONFIG_SET_FLAG, key.c_str(), nullptr, 0) != 0)
    fail(errno, cat("set ", key, " of"));
}

void FsContext::set_string(const std::string& key, const std::string& value) {
  if (!try_set_string(key, value)) fail(EINVAL, cat("set ", key, " of"));
}

void FsContext::set_fd(const std::string& key, int fd) {
  if (!try_set_fd(key, fd)) fail(EINVAL, cat("set ", key, " of"));
}

bool FsContext::try_set_fd(const std::string& key, int fd) {
  if (::fsconfig(fd_.get(), FSCONFIG_SET_FD, key.c_str(), nullptr, fd) == 0) return true;
  if (errno != EINVAL) fail(errno, cat("set ", key, " of"));
  return false;
}

bool FsContext::try_set_flag(const std::string& key) {
  if (::fsconfig(fd_.get(), FSCONFIG_SET_FLAG, key.c_str(), nullptr, 0) == 0) return true;
  if (errno != EINVAL) fail(errno, cat("set ", key, " of"));
  return false;
}

bool FsContext::try_set_string(const std::string& key, const std::string& value) {
  if (::fsconfig(fd_.get(), FSCONFIG_SET_STRING, key.c_str(), value.c_str(), 0) == 0) return true;
  if (errno != EINVAL) fail(errno, cat("set ", key, " of"));
  return false;
}

UniqueFd FsContext::mount(std::uint64_t attributes) {
  if (::fsconfig(fd_.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    fail(errno, "create a file system of type");
  UniqueFd made(::fsmount(fd_.get(), FSMOUNT_CLOEXEC, static_cast<unsigned>(attributes)));
  if (!made) fail(errno, "mount a file system of type");
  return made;
}

UniqueFd clone_mount(int dir, const std::string& path, bool recursive) {
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW;
  if (path.empty()) flags |= AT_EMPTY_PATH;
  if (recursive) flags |= AT_RECURSIVE;
  UniqueFd fd(::open_tree(dir, path.c_str(), flags));
  if (!fd) throw SystemError(errno, "take a mount of", path);
  return fd;
}

void add_mount_attributes(int fd, std::uint64_t attributes, bool recursive) {
  struct mount_attr change {};
  change.attr_set = attributes;
  const unsigned flags = AT_EMPTY_PATH | (recursive ? static_cast<unsigned>(AT_RECURSIVE) : 0u);
  if (::mount_setattr(fd, "", flags, &change, sizeof change) != 0)
    throw SystemError(errno, "change the attributes of a mount");
}

}  // namespace imgbuild
