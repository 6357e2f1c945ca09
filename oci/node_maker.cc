#include "oci/node_maker.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::oci {

namespace {

void write_at(int fd, std::string_view bytes, std::uint64_t offset, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw SystemError(errno, "write", path);
    bytes.remove_prefix(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
}

[[noreturn]] void fail_size(const std::string& path, std::uint64_t size) {
  throw Error(cat("\"", printable(path), "\" does not have the ", size, " bytes it should have"));
}

}  // namespace

void NodeMaker::make_file(int dir, const std::string& name, const FileAttributes& attributes,
                          const std::string& path, const Read& read,
                          const std::vector<tar::SparseExtent>* extents) {
  const UniqueFd fd = open_at(dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
  const std::vector<tar::SparseExtent> whole = {{0, attributes.size}};
  std::uint64_t written = 0;
  for (const auto& [offset, size] : extents != nullptr ? *extents : whole) {
    for (std::uint64_t done = 0; done < size;) {
      const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(size - done, buffer_.size()));
      const std::size_t got = read({buffer_.data(), wanted});
      if (got == 0) fail_size(path, attributes.size);
      check_space(fd.get(), got);
      write_at(fd.get(), {buffer_.data(), got}, offset + done, path);
      done += got;
      written = offset + done;
    }
  }
  if (attributes.size > 0 && read({buffer_.data(), 1}) != 0) fail_size(path, attributes.size);
  if (written != attributes.size && ::ftruncate(fd.get(), static_cast<off_t>(attributes.size)) != 0) {
    throw SystemError(errno, "resize", path);
  }
  metadata_.write(fd.get(), attributes, path);
}

void NodeMaker::make_special(int dir, const std::string& name, const FileAttributes& a,
                             const std::string& path) {
  const auto make_node = [&](mode_t type, dev_t device) {
    if (::mknodat(dir, name.c_str(), type | 0600, device) != 0) throw SystemError(errno, "create node", path);
  };
  const dev_t device = makedev(a.device_major, a.device_minor);
  switch (a.type) {
    case FileType::symlink:
      if (::symlinkat(a.link_target.c_str(), dir, name.c_str()) != 0)
        throw SystemError(errno, "create link", path);
      break;
    case FileType::char_device:
      make_node(S_IFCHR, device);
      break;
    case FileType::block_device:
      make_node(S_IFBLK, device);
      break;
    case FileType::fifo:
      make_node(S_IFIFO, 0);
      break;
    case FileType::regular:
    case FileType::directory:
      return;
  }
  metadata_.write_at(dir, name, a, path);
}

/// Stops before the disk is full: others need what is left (FS-32).
void NodeMaker::check_space(int fd, std::uint64_t bytes) {
  unchecked_ += bytes;
  if (unchecked_ < kSpaceInterval) return;
  unchecked_ = 0;
  struct statvfs info {};
  if (::fstatvfs(fd, &info) != 0 || info.f_blocks == 0) return;
  constexpr std::uint64_t kMinFree = 256 << 20;
  const std::uint64_t reserve = std::max<std::uint64_t>(info.f_blocks / 100 * info.f_frsize, kMinFree);
  if (static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize >= reserve) return;
  throw SystemError(ENOSPC, cat("less than ", human_size(reserve), " are free"));
}

}  // namespace imgbuild::oci
