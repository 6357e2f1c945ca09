#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "oci/node_metadata.h"

namespace imgbuild::builder {

/// The extended attributes of one file of an upper directory, sorted out.
struct UpperXattrs {
  std::map<std::string, std::string> exported;  ///< what a layer records (OVL-22, LAY-19)
  bool opaque = false;                          ///< hides the directory below
  bool foreign_form = false;                    ///< redirect or metacopy: not ours to read (LAY-37)
  std::string owner;                            ///< of kOwnerXattr
  std::vector<std::string> strangers;  ///< of fuse-overlayfs: what means nothing to the kernel's overlays
};

/// What wrote the upper directory.
enum class UpperWriter : std::uint8_t { kernel, fuse_overlayfs };

/// Whether a layer records this attribute.
bool is_exported_xattr(std::string_view name) noexcept;

/// `security.capability` as layers carry it: the namespaced third revision becomes the second (OVL-23,
/// LAY-21). Empty when it belongs to another user namespace or is no capability at all.
std::string layer_capability(std::string_view value);

/// Reads attributes by directory and name, never following a link. Keeps its buffers; not thread-safe.
class XattrReader {
 public:
  /// For a directory that is no part of an overlay.
  XattrReader() = default;
  /// What fuse-overlayfs writes does not depend on `flavour` (OVL-40).
  explicit XattrReader(oci::OverlayFlavour flavour, UpperWriter writer = UpperWriter::kernel)
      : fuse_(writer == UpperWriter::fuse_overlayfs),
        prefix_(fuse_ || flavour == oci::OverlayFlavour::trusted ? "trusted.overlay." : "user.overlay.") {}
  /// `path` is for errors. Throws SystemError.
  UpperXattrs read(int dir, const char* name, const std::string& path);

 private:
  std::string_view list(int dir, const char* name, const std::string& path);
  std::string value(int dir, const char* name, const char* xattr, const std::string& path);

  /// Of fuse-overlayfs, besides what the kernel writes too.
  void read_fuse(int dir, const char* name, const char* xattr, const std::string& path, UpperXattrs& out);

  bool fuse_ = false;
  std::string_view prefix_;
  std::vector<char> names_ = std::vector<char>(4096);
  std::vector<char> value_ = std::vector<char>(4096);
};

}  // namespace imgbuild::builder
