#pragma once

#include <string>
#include <vector>

#include "builder/copy_engine.h"

/// What stands between looking for the sources of a copy and applying them; internal to the copy engine.
namespace imgbuild::builder {

/// An entry that is to be copied, with what is selected below it.
struct SelectedNode {
  std::string name;  ///< below its parent; empty for a match itself
  SourceNode source;
  /// Only on the way to something selected: an excluded directory with a kept child, or one above a match of
  /// --parents. It is made with the source's attributes, but the time of the build (COPY-83, COPY-93).
  bool on_the_way = false;
  std::vector<SelectedNode> children;  ///< directories; byte order of names
};

/// One thing a source led to: itself, or one match of its wildcard.
struct Match {
  std::string
      base_name;     ///< what it is called in a directory: of the path as written, before links (COPY-10)
  std::string path;  ///< where it stands in the tree, without links
  SelectedNode top;
};

/// One source as written in the instruction.
struct SelectedSource {
  std::string key_name;  ///< what the cache key keeps of its text: base name or pattern (CAC-20)
  bool wildcard = false;
  bool parents = false;
  std::vector<Match> matches;
};

class Selection final : public CopySelection {
 public:
  Selection(CopyRequest request, SourceTree& tree, std::vector<SelectedSource> sources);

  void add_to_key(cache::CacheKeyBuilder& key) const override;
  void add_outline_to_key(cache::CacheKeyBuilder& key) const override;
  std::uint64_t total_bytes() const override { return total_bytes_; }
  bool must_hash(std::uint64_t bytes) const override;

  SourceTree& tree() const noexcept { return tree_; }
  const std::vector<SelectedSource>& sources() const noexcept { return sources_; }

 private:
  /// `digests`: of the content, in the order of the files; null: without it.
  void add_fields(cache::CacheKeyBuilder& key, const Digest* digests) const;
  std::string keyed_owner() const;

  CopyRequest request_;
  SourceTree& tree_;
  std::vector<SelectedSource> sources_;
  std::uint64_t total_bytes_ = 0;
};

/// The path a source text names: relative, clean, without leading slash, `..` clamped (COPY-1). "" is the
/// root.
std::string clean_source(const std::string& text);

/// The error for a source that is not there; names the rule that hides it, if one does.
[[noreturn]] void throw_not_found(SourceTree& tree, const std::string& path);

inline std::string join_path(const std::string& directory, const std::string& name) {
  if (directory.empty()) return name;
  if (name.empty()) return directory;
  std::string path;
  path.reserve(directory.size() + 1 + name.size());
  path.append(directory).append(1, '/').append(name);
  return path;
}

inline std::string base_name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace imgbuild::builder
