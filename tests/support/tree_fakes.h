#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "builder/content_provider.h"
#include "builder/memory_source.h"
#include "oci/file_tree.h"
#include "oci/layer_entry.h"
#include "parser/ignore_file.h"

namespace imgbuild::tests {

/// A stack of layers in memory: what the store and the snapshots are to a build. Copies share nothing that
/// changes.
class FakeStack {
 public:
  /// Puts a layer on top. Fails (throws) if it is none that may be written: it goes through the tar writer.
  void push(const std::vector<oci::PendingEntry>& entries);

  const oci::FileTree& tree() const noexcept { return tree_; }
  /// Names of the entries of each layer, in order: "/dir/", "/dir/.wh.gone".
  const std::vector<std::vector<std::string>>& layers() const noexcept { return layers_; }
  /// Opens files of this stack, and of it alone.
  std::shared_ptr<builder::ContentProvider> content() const;
  /// The bytes of a regular file of `tree()`.
  std::string read(const oci::FileNode& node) const;

 private:
  using Files = std::map<std::pair<Digest, std::string>, std::string>;

  oci::FileTree tree_;
  std::vector<std::vector<std::string>> layers_;
  Files files_;
};

/// A copy of `all` without what the rules leave out, as a build context would show it.
std::shared_ptr<builder::MemorySource> without_ignored(builder::SourceTree& all,
                                                       const parser::IgnoreMatcher& rules);

/// A member of an archive to be made.
struct TarSpec {
  std::string path;
  char type = 'f';  ///< file, dir, symlink, hardlink (h), pipe (p), char device (c)
  unsigned mode = 0644;
  unsigned uid = 0, gid = 0;
  std::string content;
  std::string target;
  std::int64_t mtime = 900000000;
  std::map<std::string, std::string> xattrs;
};
/// Writes a tar with libarchive: `format` is "gnutar" or "pax", `compression` "none", "gzip", "bzip2", "xz"
/// or "zstd".
std::string make_archive(const std::vector<TarSpec>& members, const std::string& compression = "none",
                         const std::string& format = "gnutar");

}  // namespace imgbuild::tests
