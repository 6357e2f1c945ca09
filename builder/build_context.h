#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/source_text.h"
#include "base/thread_pool.h"
#include "builder/context_walk.h"
#include "builder/source_tree.h"
#include "cache/stat_memo.h"
#include "parser/ignore_file.h"

namespace imgbuild::builder {

/// What reading a context cost, for `--stats` and for tests that ignored directories cost nothing.
struct ContextStats {
  std::uint64_t entries_listed = 0;  ///< entries whose attributes were asked for
  std::uint64_t directories_opened = 0;
  std::uint64_t bytes_read = 0;          ///< content, for digests and for layers
  std::uint64_t digests_computed = 0;    ///< files hashed
  std::uint64_t digests_remembered = 0;  ///< digests taken from the memo, without opening the file
};

/// A directory on disk as COPY, ADD and bind mounts see it: without what the ignore rules leave out,
/// attributes as COPY-40 wants them. Sockets are empty files; FIFOs are listed and never opened; a device
/// node is listed as a file whose digest and bytes are an Error that names it, so that only a build that
/// selects it fails (FS-51).
///
/// Directories are read when first asked for, once, and kept: one build sees one state. What is opened later
/// must still be what was listed. No link is ever followed and nothing outside the directory is ever reached,
/// whatever happens to the tree meanwhile (FS-50). Thread-safe.
class BuildContext final : public SourceTree {
 public:
  /// `memo`, `pool` (may be null: then nothing is done in parallel) are borrowed. `clock` is the wall clock;
  /// without one no digest is remembered.
  BuildContext(RootDir root, parser::IgnoreMatcher ignore, cache::StatMemo& memo, ThreadPool* pool,
               std::function<Timestamp()> clock, ContextOptions options);
  ~BuildContext() override;

  std::optional<SourceNode> find(const std::string& path) override;
  /// Throws Error when `path` is not a directory that find() would report.
  SourceListing list(const std::string& path) override;
  oci::ContentOpener open(const std::string& path) override;
  /// Throws Error when the file changed while it was read, or cannot be read.
  Digest content_digest(const std::string& path) override;
  bool digest_is_known(const std::string& path) override;
  bool learns_digests() const override { return true; }
  /// Computes what the memo does not know on the pool and the calling thread. Files that cannot be read are
  /// passed over: content_digest() reports them.
  void prefetch_digests(const std::vector<std::string>& paths) override;
  std::vector<Digest> content_digests(const std::vector<ListedFile>& files) override;
  std::optional<std::string> explain_absence(const std::string& path) override;
  /// Reads `directory` and everything below it that is not ignored.
  void prefetch(const std::string& directory) override;

  ContextStats stats() const;

 private:
  class FileReader;
  ContextEntry regular_file(const std::string& path);
  UniqueFd open_unchanged(const std::string& path, const cache::FileIdentity& listed) const;
  std::optional<Digest> known_digest(const std::string& path, const cache::FileIdentity& listed);
  void learn(const std::string& path, const cache::FileIdentity& listed, const cache::FileIdentity& after,
             const Digest& digest, const std::optional<Timestamp>& read_at);
  Digest hash_file(const std::string& path, const cache::FileIdentity& listed);
  void require_going() const;

  const std::stop_token stop_;
  ContextWalk walk_;
  cache::StatMemo& memo_;
  ThreadPool* pool_;
  std::function<Timestamp()> clock_;
  mutable std::mutex digests_mutex_;
  std::unordered_map<std::string, Digest> digests_;  // computed in this build
  std::atomic<std::uint64_t> bytes_read_{0};
  std::atomic<std::uint64_t> computed_{0};
  std::atomic<std::uint64_t> remembered_{0};
};

/// Opens the directory `path`, following links in `path` itself. Throws SystemError unless it is a directory
/// that can be opened. The rest as the constructor.
std::unique_ptr<BuildContext> open_build_context(const std::string& path, parser::IgnoreMatcher ignore,
                                                 cache::StatMemo& memo, ThreadPool* pool,
                                                 std::function<Timestamp()> clock,
                                                 ContextOptions options = {});

}  // namespace imgbuild::builder
