#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "cache/stat_memo.h"
#include "oci/layer_entry.h"

namespace imgbuild::builder {

/// One entry of a tree that files are copied from. Attributes are as the copy shall see them: a build context
/// gives 0:0 owners and no xattrs (COPY-40), a stage gives its real ones (COPY-42).
struct SourceNode {
  oci::FileAttributes attributes;
  std::uint64_t link_group = 0;  ///< of an inode with several names, the same for all on one device; else 0
  /// Of the file on disk as it was listed, where there is one: so that it need not be looked up again.
  std::optional<cache::FileIdentity> identity = {};

  /// Equal for the names of one inode. Only where there is a link group.
  std::pair<std::uint64_t, std::uint64_t> link_key() const {
    return {identity ? identity->device : 0, link_group};
  }
};

/// The entries of one directory and their names, sorted by bytes. A value; copies share the entries, which
/// never change: what was selected from a large tree need not be kept twice.
class SourceListing {
 public:
  using Entry = std::pair<std::string, SourceNode>;

  SourceListing() = default;
  explicit SourceListing(std::vector<Entry> entries)
      : entries_(std::make_shared<const std::vector<Entry>>(std::move(entries))) {}

  std::size_t size() const noexcept { return entries_ ? entries_->size() : 0; }
  bool empty() const noexcept { return size() == 0; }
  const Entry* begin() const noexcept { return entries_ ? entries_->data() : nullptr; }
  const Entry* end() const noexcept { return begin() + size(); }
  const Entry& operator[](std::size_t i) const noexcept { return begin()[i]; }

 private:
  std::shared_ptr<const std::vector<Entry>> entries_;
};

/// A regular file as list() or find() gave it. The node is borrowed.
struct ListedFile {
  std::string path;
  const SourceNode* node;
};

/// A tree that COPY, ADD and bind mounts read: a build context, a stage, an image, a git checkout, a
/// download. Paths are relative, clean, without leading slash; "" is the root. Methods may be called from
/// several threads.
class SourceTree {
 public:
  virtual ~SourceTree() = default;

  /// The entry at `path`; no component is followed if it is a link. Nothing when it does not exist (or is
  /// ignored).
  virtual std::optional<SourceNode> find(const std::string& path) = 0;
  /// The children of directory `path`, sorted by bytes, ignored ones left out.
  virtual SourceListing list(const std::string& path) = 0;
  /// Opens the bytes of the regular file `path`; the returned opener may outlive this call, not this tree.
  /// Throws from the opener when the file changed since it was listed (FS-51).
  virtual oci::ContentOpener open(const std::string& path) = 0;
  /// SHA-256 of the regular file `path`, from a memo where it can be trusted.
  virtual Digest content_digest(const std::string& path) = 0;
  /// Whether content_digest() would answer without reading the file.
  virtual bool digest_is_known(const std::string& path) {
    (void)path;
    return true;
  }
  /// Whether reading a file to its end through open() is enough to know its digest from then on.
  virtual bool learns_digests() const { return false; }
  /// Tells that these digests will be asked for, so that they can be computed in parallel.
  virtual void prefetch_digests(const std::vector<std::string>& paths) { (void)paths; }
  /// content_digest() of each of `files`, in their order, computed in parallel where bytes have to be read.
  /// Fails as content_digest() does for the first of them that fails.
  virtual std::vector<Digest> content_digests(const std::vector<ListedFile>& files);
  /// Tells that everything below `directory` will be listed, so that it can be read in parallel. Errors are
  /// left to list().
  virtual void prefetch(const std::string& directory) { (void)directory; }
  /// Why `path` is not there although it exists on disk: "line 4 of .dockerignore" for an ignored file. For
  /// errors.
  virtual std::optional<std::string> explain_absence(const std::string& path) {
    (void)path;
    return std::nullopt;
  }
};

/// Where `path` leads in `tree` when every symlink is resolved inside it as in a chroot (COPY-10). Throws
/// Error "too many links". The result's node is nothing when it does not exist.
struct ResolvedSource {
  std::string path;
  std::optional<SourceNode> node;
};
ResolvedSource resolve_source(SourceTree& tree, const std::string& path, bool follow_last);

}  // namespace imgbuild::builder
