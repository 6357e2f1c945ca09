#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/shared_buffers.h"
#include "base/stream.h"
#include "oci/layer_entry.h"
#include "oci/tar_format.h"
#include "oci/written_names.h"

namespace imgbuild {
class HashChain;
}

namespace imgbuild::oci {

struct TarOptions {
  /// Times later than this become this (REP-3).
  std::optional<std::int64_t> clamp_mtime;
  /// All times become this (REP-4); wins over `clamp_mtime`.
  std::optional<std::int64_t> force_mtime;
};

/// The time the tar gets for `mtime`: whole seconds rounded down (LAY-13), clamped or forced.
Timestamp written_mtime(const Timestamp& mtime, const TarOptions& options);

/// Writes entries in the one dialect we produce (LAY-1…17): plain ustar, with a PAX header where that cannot
/// hold a value. The bytes are a pure function of the entries and their contents. Calls `boundary()` of the
/// sink after every entry. Not thread-safe.
class TarWriter {
 public:
  explicit TarWriter(Sink& out, TarOptions options = {});

  /// Adds one entry. `content` gives exactly `attributes.size` bytes of a regular file; it may be nullptr
  /// when there are none. A hard link takes its attributes from its target, whatever the entry says. Throws
  /// Error, before anything of the entry is written, for what a layer must not have: the root, a name twice,
  /// an entry before its parent directory, a whiteout that does not directly follow its directory, a hard
  /// link to something that is no earlier file, a name starting with `.wh.`, the device 0:0, a name or value
  /// the format cannot hold. Throws Error when `content` turns out longer or shorter; the archive is then
  /// useless. `hash`, if given, gets the content's bytes.
  void add(const LayerEntry& entry, Source* content, HashChain* hash = nullptr);

  /// Writes the end of the archive (LAY-7) and finishes the sink.
  void finish();

 private:
  void check(const LayerEntry& entry);
  void check_parent(const LayerEntry& entry);
  void check_attributes(const LayerEntry& entry) const;
  FileAttributes attributes_of(const LayerEntry& entry);
  void remember(const LayerEntry& entry, const FileAttributes& attributes);
  void write_headers(const LayerEntry& entry, const FileAttributes& attributes);
  void write_content(const LayerEntry& entry, Source* content, HashChain* hash);
  void write_padding(std::uint64_t size);

  Sink& out_;
  TarOptions options_;
  WrittenNames written_;
  /// The few entries with extended attributes, for hard links to them.
  std::unordered_map<std::string, Xattrs> seen_xattrs_;
  /// Of the directory whose whiteouts come now.
  std::unordered_set<std::string> whiteouts_;
  /// The directory whose whiteouts may come now; nothing when an other entry stood between.
  std::optional<std::string> whiteouts_of_ = std::string();
  std::string checked_parent_;  ///< the last one found right: entries of a directory follow each other
  SharedBuffers buffers_;
};

}  // namespace imgbuild::oci
