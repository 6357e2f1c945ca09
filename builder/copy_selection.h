#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "builder/copy_engine.h"

/// What stands between looking for the sources of a copy and applying them; internal to the copy engine.
namespace imgbuild::builder {

/// An entry that is to be copied, with what is selected below it. Small: there is one for each file.
class SelectedNode {
 public:
  SelectedNode(const SourceListing::Entry& entry, bool only_on_the_way)
      : entry_(&entry), on_the_way_(only_on_the_way) {}

  /// Below its parent; empty for a match itself.
  const std::string& name() const noexcept { return entry_->first; }
  /// Of a listing that the match keeps.
  const SourceNode& source() const noexcept { return entry_->second; }
  /// Only on the way to something selected: an excluded directory with a kept child, or one above a match of
  /// --parents. It is made with the source's attributes, but the time of the build (COPY-83, COPY-93).
  bool on_the_way() const noexcept { return on_the_way_; }
  /// Of directories; byte order of names.
  std::span<const SelectedNode> children() const noexcept {
    return children_ ? std::span<const SelectedNode>(*children_) : std::span<const SelectedNode>();
  }
  void set_children(std::vector<SelectedNode> children) {
    if (!children.empty()) children_ = std::make_unique<std::vector<SelectedNode>>(std::move(children));
  }

 private:
  const SourceListing::Entry* entry_;
  std::unique_ptr<std::vector<SelectedNode>> children_;
  bool on_the_way_;
};

/// One thing a source led to: itself, or one match of its wildcard.
struct Match {
  std::string
      base_name;     ///< what it is called in a directory: of the path as written, before links (COPY-10)
  std::string path;  ///< where it stands in the tree, without links
  SelectedNode top;
  std::vector<SourceListing> listings;  ///< what the selected nodes are in
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

inline std::string join_path(const std::string& directory, std::string_view name) {
  if (directory.empty()) return std::string(name);
  if (name.empty()) return directory;
  std::string path;
  path.reserve(directory.size() + 1 + name.size());
  path.append(directory).append(1, '/').append(name);
  return path;
}

inline std::string base_name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace imgbuild::builder
