#include "builder/overlay_xattr.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

// Calls of 6.13, which the C library does not know yet. Older kernels get there through /proc.
constexpr long kGetXattrAt = 464;
constexpr long kListXattrAt = 465;

struct XattrArgs {
  alignas(8) std::uint64_t value;
  std::uint32_t size;
  std::uint32_t flags;
};

std::string proc_path(int dir, const char* name) { return cat("/proc/self/fd/", dir, "/", name); }

ssize_t list_at(int dir, const char* name, char* out, std::size_t size) {
  const long got = ::syscall(kListXattrAt, dir, name, AT_SYMLINK_NOFOLLOW, out, size);
  if (got >= 0 || (errno != ENOSYS && errno != EPERM)) return got;
  return ::llistxattr(proc_path(dir, name).c_str(), out, size);
}

ssize_t get_at(int dir, const char* name, const char* xattr, char* out, std::size_t size) {
  XattrArgs args{reinterpret_cast<std::uint64_t>(out), static_cast<std::uint32_t>(size), 0};
  const long got = ::syscall(kGetXattrAt, dir, name, AT_SYMLINK_NOFOLLOW, xattr, &args, sizeof args);
  if (got >= 0 || (errno != ENOSYS && errno != EPERM)) return got;
  return ::lgetxattr(proc_path(dir, name).c_str(), xattr, out, size);
}

std::uint32_t little_endian(std::string_view bytes, std::size_t at) {
  std::uint32_t out = 0;
  for (std::size_t i = 4; i-- > 0;) out = out << 8 | static_cast<unsigned char>(bytes[at + i]);
  return out;
}

}  // namespace

bool is_exported_xattr(std::string_view name) noexcept {
  if (name == "security.capability") return true;
  return name.starts_with("user.") && !name.starts_with("user.overlay.") &&
         !name.starts_with("user.fuseoverlayfs.") && !name.starts_with("user.containers.") &&
         !name.starts_with("user.imgbuild.");
}

std::string layer_capability(std::string_view value) {
  constexpr std::size_t kSecond = 20, kThird = 24;
  if (value.size() == kSecond) return std::string(value);
  if (value.size() != kThird) return {};
  const std::uint32_t magic = little_endian(value, 0);
  // Read inside the user namespace its own root shows as the second revision; what is still of the third here
  // belongs to another one, unless it names our root.
  if ((magic & VFS_CAP_REVISION_MASK) != VFS_CAP_REVISION_3 || little_endian(value, kSecond) != 0) return {};
  std::string out(value.substr(0, kSecond));
  out[3] = 2;  // the revision is the top byte
  return out;
}

std::string_view XattrReader::list(int dir, const char* name, const std::string& path) {
  for (;;) {
    const ssize_t size = list_at(dir, name, names_.data(), names_.size());
    if (size >= 0) return {names_.data(), static_cast<std::size_t>(size)};
    if (errno == EOPNOTSUPP) return {};
    if (errno != ERANGE) throw SystemError(errno, "list attributes of", path);
    names_.resize(names_.size() * 2);
  }
}

std::string XattrReader::value(int dir, const char* name, const char* xattr, const std::string& path) {
  for (;;) {
    const ssize_t size = get_at(dir, name, xattr, value_.data(), value_.size());
    if (size >= 0) return {value_.data(), static_cast<std::size_t>(size)};
    if (errno != ERANGE) throw SystemError(errno, cat("read attribute ", xattr, " of"), path);
    value_.resize(value_.size() * 2);
  }
}

void XattrReader::read_fuse(int dir, const char* name, const char* xattr, const std::string& path,
                            UpperXattrs& out) {
  // Unlike the kernel it lets commands set `user.overlay.*`, so nothing is to be believed of these. Where it
  // marks a directory with them, there is a file inside as well.
  if (std::string_view(xattr) == "user.fuseoverlayfs.opaque")
    out.opaque = out.opaque || value(dir, name, xattr, path) == "y";
  out.strangers.emplace_back(xattr);
}

UpperXattrs XattrReader::read(int dir, const char* name, const std::string& path) {
  UpperXattrs out;
  const std::string_view names = list(dir, name, path);
  for (std::size_t at = 0; at < names.size();) {
    const std::string_view xattr(names.data() + at);
    at += xattr.size() + 1;
    if (!prefix_.empty() && xattr.starts_with(prefix_)) {
      const std::string_view own = xattr.substr(prefix_.size());
      if (own == "opaque") out.opaque = out.opaque || value(dir, name, xattr.data(), path) == "y";
      if (own == "redirect" || own == "metacopy") out.foreign_form = true;
    } else if (fuse_ && (xattr.starts_with("user.fuseoverlayfs.") || xattr.starts_with("user.overlay."))) {
      read_fuse(dir, name, xattr.data(), path, out);
    } else if (xattr == oci::kOwnerXattr) {
      out.owner = value(dir, name, xattr.data(), path);
    } else if (xattr == "security.capability") {
      auto capability = layer_capability(value(dir, name, xattr.data(), path));
      if (!capability.empty()) out.exported.emplace(xattr, std::move(capability));
    } else if (is_exported_xattr(xattr)) {
      out.exported.emplace(xattr, value(dir, name, xattr.data(), path));
    }
  }
  return out;
}

}  // namespace imgbuild::builder
