#include "builder/upper_compare.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "builder/overlay_xattr.h"

namespace imgbuild::builder {

namespace {

using oci::FileAttributes;
using oci::FileType;

bool same_xattrs(const FileAttributes& a, const FileAttributes& b) {
  // The lower tree may know attributes that a diff never records.
  const auto next = [](auto it, auto end) {
    return std::find_if(it, end, [](const auto& x) { return is_exported_xattr(x.first); });
  };
  auto left = next(a.xattrs.begin(), a.xattrs.end()), right = next(b.xattrs.begin(), b.xattrs.end());
  while (left != a.xattrs.end() && right != b.xattrs.end()) {
    if (*left != *right) return false;
    left = next(std::next(left), a.xattrs.end());
    right = next(std::next(right), b.xattrs.end());
  }
  return left == a.xattrs.end() && right == b.xattrs.end();
}

bool same_metadata(const FileAttributes& a, const FileAttributes& b) {
  return a.type == b.type && (a.mode == b.mode || a.type == FileType::symlink) && a.uid == b.uid &&
         a.gid == b.gid && a.device_major == b.device_major && a.device_minor == b.device_minor &&
         a.size == b.size && a.link_target == b.link_target && same_xattrs(a, b);
}

std::size_t read_fully(int fd, char* out, std::size_t size, const std::string& path) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(fd, out + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw SystemError(errno, "read", path);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

}  // namespace

bool UpperCompare::same_bytes(int a, int b, const std::string& path) {
  constexpr std::size_t kChunk = 128 * 1024;
  if (!buffer_) buffer_ = std::make_unique_for_overwrite<char[]>(2 * kChunk);
  char *const left = buffer_.get(), *const right = left + kChunk;
  for (;;) {
    const std::size_t in_left = read_fully(a, left, kChunk, path),
                      in_right = read_fully(b, right, kChunk, path);
    if (in_left != in_right || std::memcmp(left, right, in_left) != 0) return false;
    if (in_left < kChunk) return true;
  }
}

/// An ordinary user cannot make devices, so an extracted layer has an empty file in the place of one;
/// changing what is beside it may bring a copy of that file up here.
bool UpperCompare::is_placeholder(const FileAttributes& here, const FileAttributes& there) const {
  if (options_.flavour != oci::OverlayFlavour::user || here.type != FileType::regular || here.size != 0)
    return false;
  if (there.type != FileType::char_device && there.type != FileType::block_device) return false;
  FileAttributes as_device = here;
  as_device.type = there.type;
  as_device.device_major = there.device_major;
  as_device.device_minor = there.device_minor;
  return same_metadata(as_device, there);
}

bool UpperCompare::same(int dir, const char* name, const UpperNode& node) {
  if (node.below == nullptr) return false;
  const FileAttributes& here = node.entry.attributes;
  const FileAttributes& there = node.below->attributes;
  if (is_placeholder(here, there)) return here.mtime.seconds == there.mtime.seconds;
  if (!same_metadata(here, there)) return false;
  if (here.type == FileType::directory) return true;
  const bool clamped = options_.clamp_mtime && here.mtime.seconds > *options_.clamp_mtime &&
                       there.mtime.seconds == *options_.clamp_mtime;
  if (!clamped && here.mtime.seconds != there.mtime.seconds) return false;
  // A command can set any time, down to the nanosecond: only the bytes tell (ATK-73).
  if (here.type != FileType::regular || here.size == 0) return true;
  if (!node.below->origin || !options_.open_lower) return false;
  const UniqueFd lower = options_.open_lower(*node.below->origin);
  const UniqueFd upper = open_at(dir, name, O_RDONLY | O_NONBLOCK);
  return lower && same_bytes(upper.get(), lower.get(), node.entry.path);
}

}  // namespace imgbuild::builder
