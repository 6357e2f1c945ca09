#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/root_dir.h"
#include "base/thread_pool.h"
#include "builder/source_tree.h"
#include "cache/stat_memo.h"
#include "parser/ignore_file.h"

namespace imgbuild::builder {

/// How permission bits of a context reach the image.
enum class ContextModes {
  as_found,  ///< as they are on disk
  git,  ///< as git keeps them: 0755 for directories and executable files, 0644 for others; set-id and sticky
        ///< bits stay (--context-modes=git)
};

struct ContextOptions {
  ContextModes modes = ContextModes::as_found;
  std::uint32_t uid = 0;  ///< owner of everything (COPY-40)
  std::uint32_t gid = 0;
  std::optional<Timestamp> mtime;  ///< modification time of everything, for checkouts (CTX-4)
  std::string ignore_name;         ///< the ignore file's name, for explanations; empty: ".dockerignore"
  std::stop_token stop = {};       ///< ends the reading of content with Cancelled
};

/// What of an entry its node does not tell.
struct ContextTraits {
  enum class Special : std::uint8_t { none, socket, device };
  Special special = Special::none;
  bool ignored = false;  ///< a directory that is only there for what it may hold (IGN-17)
  parser::IgnoreMatcher::State rules;
};

/// One entry as it was found.
struct ContextEntry : ContextTraits {
  std::string name;
  SourceNode node;  ///< with the identity on disk
};

/// Reads directories below a root by descriptors, never through a link, and keeps what it read. Ignored
/// directories are not even opened unless they may hold something that is not ignored (IGN-20). Thread-safe.
class ContextWalk {
 public:
  ContextWalk(RootDir root, parser::IgnoreMatcher ignore, ContextOptions options);
  ~ContextWalk();

  /// The visible entry at `path`: not ignored, or a directory on the way to something not ignored.
  std::optional<ContextEntry> find(const std::string& path);
  /// Visible children of `path`, sorted by bytes. Throws Error unless `path` is a visible directory.
  SourceListing list(const std::string& path);
  /// Reads everything below `path`, in parallel when there is enough of it; errors are left to list().
  void prefetch(const std::string& path, ThreadPool* pool);
  /// The rule that hides `path`, as "line 4 of .dockerignore (*.log)"; nothing when no rule does.
  std::optional<std::string> hiding_rule(const std::string& path) const;
  /// The rule that decided about `path` last, hiding or keeping it, in the same form; nothing when none
  /// matched.
  std::optional<std::string> deciding_rule(const std::string& path) const;
  /// Whether something is on disk at `path`, ignored or not.
  bool exists_on_disk(const std::string& path) const;
  /// Opens `path` beneath the root without following any link. Throws SystemError.
  UniqueFd open(std::string_view path, int flags) const;

  std::uint64_t entries_listed() const noexcept { return entries_listed_; }
  std::uint64_t directories_opened() const noexcept { return directories_opened_; }

 private:
  struct Listing;
  struct Directory;
  struct Shard;

  std::shared_ptr<Directory> directory(const std::string& path);
  const Listing& listing(const std::string& path, const parser::IgnoreMatcher::State& rules);
  Listing read_directory(const std::string& path, const parser::IgnoreMatcher::State& rules) const;
  std::optional<ContextEntry> examine(int dir, const std::string& name, const std::string& directory,
                                      const parser::IgnoreMatcher::State& parent,
                                      unsigned char type_hint) const;
  std::optional<ContextEntry> locate(const std::string& path);
  bool holds_kept(const std::string& path, const parser::IgnoreMatcher::State& rules);
  ContextEntry root_entry() const;
  parser::IgnoreMatcher::State rules_of(const std::string& path) const;
  std::string rule_text(const parser::IgnoreMatcher::State& rules) const;
  /// A directory to be read, and the rules that hold in it.
  using Step = std::pair<std::string, parser::IgnoreMatcher::State>;
  std::vector<Step> directories_in(const Step& step);

  RootDir root_;
  parser::IgnoreMatcher ignore_;
  ContextOptions options_;
  static constexpr std::size_t kShards = 16;
  std::unique_ptr<Shard[]> shards_;
  mutable std::atomic<std::uint64_t> entries_listed_{0};
  mutable std::atomic<std::uint64_t> directories_opened_{0};
};

}  // namespace imgbuild::builder
