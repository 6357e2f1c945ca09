#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/store_dir.h"
#include "base/timestamp.h"
#include "builder/content_provider.h"
#include "builder/source_tree.h"
#include "cache/cache_key.h"
#include "oci/file_tree.h"

namespace imgbuild::builder {

/// The owner --chown or USER resolves to (COPY-50…53).
struct Owner {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

/// One COPY or ADD with everything looked up but the files themselves. Pure data.
struct CopyRequest {
  std::vector<std::string> sources;                               ///< as in CopyOp
  std::vector<std::pair<std::string, std::string>> inline_files;  ///< name, data; applied after the sources
  std::string destination;
  std::string chown;
  std::string chmod;
  bool parents = false;
  bool unpack_archives = false;  ///< ADD of local archives (ADD-1), or --unpack
  std::vector<std::string> excludes;
  bool takes_root = false;  ///< a missing DEST is the copied root itself, so --chmod changes it (git in ADD)
  /// --link: the copy happens in an empty root (COPY-70); the caller passes an empty target tree.
  Timestamp build_time;       ///< mtime of what the instruction creates
  std::stop_token stop = {};  ///< ends long extractions with Cancelled
  StoreDir spool = -1;        ///< where the bytes of unpacked archives wait for the layer; -1: in memory
};

/// A source that is not there.
class SourceError : public Error {
 public:
  using Error::Error;
  /// As the instruction writes it, after expansion.
  const std::string& source() const noexcept { return source_; }
  void set_source(std::string text) { source_ = std::move(text); }

 private:
  std::string source_;
};

/// What the sources selected: every entry, before anything is written. Made once, used for the key and the
/// copy.
class CopySelection {
 public:
  virtual ~CopySelection() = default;
  /// Adds the fields of CAC-20…23 to a key: base names, destination, flags, and the content digest of the
  /// selected files (never mtimes). Digests are taken through SourceTree::content_digest.
  virtual void add_to_key(cache::CacheKeyBuilder& key) const = 0;
  /// Adds what of that is known without reading a file: all but the digests of content. Selections that
  /// differ here have different keys; those that do not, nearly always the same one.
  virtual void add_outline_to_key(cache::CacheKeyBuilder& key) const = 0;
  /// Bytes of regular files selected, for progress.
  virtual std::uint64_t total_bytes() const = 0;
  /// Whether the key can only be had by reading at least `bytes` of content that nobody has hashed yet.
  virtual bool must_hash(std::uint64_t bytes) const = 0;
};

/// Finds what `request` copies from `tree`: wildcards, links, excludes, --parents, archives (COPY-1…11,
/// 80…95). Throws SourceError for sources that do not exist (naming the ignore rule when there is one).
std::unique_ptr<CopySelection> select_sources(const CopyRequest& request, SourceTree& tree);

/// The entries of the layer this copy makes on `target` (COPY-20…72, ADD-1…8): ordered, parents included.
/// `owner_files` opens files of the target: /etc/passwd and /etc/group for --chown names, and what an archive
/// links to. Throws Error for conflicts (COPY-27). Nothing is written anywhere; the openers in the result
/// read from the source tree.
std::vector<oci::PendingEntry> plan_copy(const CopyRequest& request, const CopySelection& selection,
                                         const oci::FileTree& target, ContentProvider& owner_files);

/// The entries of WORKDIR `path` (MET-21): missing directories, 0755, owned by `user` resolved like --chown.
std::vector<oci::PendingEntry> plan_workdir(const std::string& path, const std::string& user,
                                            const oci::FileTree& target, ContentProvider& owner_files,
                                            const Timestamp& build_time);

/// Whether --chown=`text` has names in it that must be looked up in the target's /etc/passwd and /etc/group.
/// They then belong into the cache key (CAC-24, COPY-55).
bool chown_needs_target(std::string_view text);
void add_owner_files_to_key(cache::CacheKeyBuilder& key, const oci::FileTree& target,
                            ContentProvider& owner_files);

}  // namespace imgbuild::builder
