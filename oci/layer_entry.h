#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/digest.h"
#include "base/stream.h"
#include "base/timestamp.h"
#include "oci/xattrs.h"

namespace imgbuild::oci {

/// Digest of a layer's tar before compression. Not interchangeable with the digest of its blob.
struct DiffId {
  Digest value;
  auto operator<=>(const DiffId&) const = default;
};

/// Digest naming a stack of layers from the bottom up (IMG-28).
struct ChainId {
  Digest value;
  auto operator<=>(const ChainId&) const = default;
};
/// ChainID of `layer` put on top of `parent`; nothing below: the layer's own diff ID.
ChainId chain(const std::optional<ChainId>& parent, const DiffId& layer);

enum class FileType : std::uint8_t { regular, directory, symlink, char_device, block_device, fifo };

inline bool is_device(FileType type) noexcept {
  return type == FileType::char_device || type == FileType::block_device;
}

/// The attributes of one inode as an image records it.
struct FileAttributes {
  FileType type = FileType::regular;
  std::uint32_t mode = 0;  ///< 07777 bits only
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  Timestamp mtime;
  std::uint64_t size = 0;   ///< regular files only
  std::string link_target;  ///< symlinks only, raw bytes
  std::uint32_t device_major = 0;
  std::uint32_t device_minor = 0;
  Xattrs xattrs;  ///< raw values; only what layers carry (LAY-19)
  bool operator==(const FileAttributes&) const = default;
};

/// One member of a layer. `path` is relative, without leading or trailing slash, raw bytes.
struct LayerEntry {
  enum class Kind : std::uint8_t {
    node,       ///< a file, directory, link or device with `attributes`
    hard_link,  ///< another name of the earlier entry `hard_link_target` of this layer
    whiteout,   ///< `path` of the lower layers is gone
    opaque,     ///< read only: the whole lower content of directory `path` is gone; never written (LAY-27)
  };
  Kind kind = Kind::node;
  std::string path;
  FileAttributes attributes;
  std::string hard_link_target;
  /// SHA-256 of a regular file's bytes when somebody computed it; memo for content digests.
  std::optional<Digest> content;
  bool operator==(const LayerEntry&) const = default;
};

/// Whether an entry brings bytes with it: a regular file that is not empty.
inline bool has_bytes(const LayerEntry& entry) noexcept {
  return entry.kind == LayerEntry::Kind::node && entry.attributes.type == FileType::regular &&
         entry.attributes.size > 0;
}

/// Opens the bytes of a regular file anew. May be called from any thread, more than once.
using ContentOpener = std::function<std::unique_ptr<Source>()>;

/// A layer entry together with its bytes, on its way into a layer. `open` is set for regular files with size
/// > 0.
struct PendingEntry {
  LayerEntry entry;
  ContentOpener open;
};

}  // namespace imgbuild::oci
