#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "oci/layer_entry.h"

namespace imgbuild::oci {

/// Which attributes mark opaque directories: `trusted.overlay.*` needs privileges, `user.overlay.*` is for
/// overlays mounted with `userxattr`.
enum class OverlayFlavour : std::uint8_t { trusted, user };

/// "UID:GID" of a file that could not be given away. Goes wherever the file goes: overlays copy it up,
/// renames keep it. Links and special files cannot have it.
inline constexpr const char* kOwnerXattr = "user.imgbuild.owner";

struct MetadataOptions {
  bool keep_owner = true;  ///< otherwise nodes belong to who runs this, and capabilities are dropped
  bool write_xattrs = true;
  /// Nodes belong to who runs this, because no other ids exist here; who they should belong to is noted in
  /// the attribute kOwnerXattr (RLS-12). Wins over keep_owner.
  bool record_owner = false;
  OverlayFlavour flavour = OverlayFlavour::trusted;
  std::optional<Timestamp> force_mtime;
};

/// Gives inodes their attributes in the only order that works: owner, mode, extended attributes, times
/// (FS-29). Problems that are no errors are collected once each. Not thread-safe.
class MetadataWriter {
 public:
  explicit MetadataWriter(MetadataOptions options) : options_(options) {}

  /// A regular file or directory that is open. `path` is for errors. Throws SystemError.
  void write(int fd, const FileAttributes& attributes, const std::string& path);
  /// Anything else, by its name in `dir`; never follows a link.
  void write_at(int dir, const std::string& name, const FileAttributes& attributes, const std::string& path);
  /// Marks a directory as hiding what is below it.
  void mark_opaque(int fd, const std::string& path);

  void warn(std::string text);
  const std::vector<std::string>& warnings() const noexcept { return warnings_; }

 private:
  void set_owner(int fd, const FileAttributes& attributes, const std::string& path);
  void write_xattr(int fd, const std::string& name, const std::string& value, const std::string& path);
  std::string stored_name(const std::string& name) const;

  const MetadataOptions options_;
  std::vector<std::string> warnings_;
  bool warned_xattr_ = false;
};

}  // namespace imgbuild::oci
