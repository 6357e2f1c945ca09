#include "builder/diff.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "builder/upper_walk.h"
#include "oci/layer_order.h"

namespace imgbuild::builder {

namespace {

using oci::FileNode;
using oci::FileNodePtr;
using oci::FileType;
using oci::LayerEntry;
using oci::PendingEntry;

/// Names in the upper directory of one inode, in layer order.
using LinkGroups = std::map<std::pair<std::uint64_t, std::uint64_t>, std::vector<std::size_t>>;

LinkGroups group_links(const std::vector<UpperNode*>& nodes) {
  LinkGroups groups;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    if (nodes[i]->linked) groups[{nodes[i]->device, nodes[i]->inode}].push_back(i);
  return groups;
}

/// One changed name makes all of them part of the layer: a link never leads out of it (OVL-25). Returns the
/// inodes of the lower layers that got a new name without being changed themselves.
std::vector<std::pair<std::uint64_t, std::size_t>> spread_over_links(const std::vector<UpperNode*>& nodes,
                                                                     const LinkGroups& groups) {
  std::vector<std::pair<std::uint64_t, std::size_t>> kept;
  for (const auto& [inode, names] : groups) {
    bool any_changed = false;
    std::uint64_t lower_group = 0;
    for (const std::size_t name : names) {
      any_changed |= nodes[name]->changed;
      if (!nodes[name]->changed) lower_group = nodes[name]->below->link_group;
    }
    if (!any_changed) continue;
    if (lower_group != 0) kept.emplace_back(lower_group, names.front());
    for (const std::size_t name : names) nodes[name]->changed = true;
    for (const std::size_t name : names) {
      if (name == names.front()) continue;
      nodes[name]->entry.kind = LayerEntry::Kind::hard_link;
      nodes[name]->entry.hard_link_target = nodes[names.front()]->entry.path;
    }
  }
  return kept;
}

void include_parents(const std::vector<UpperNode*>& nodes) {
  // From the end: an entry's parent is the next one that stands less deep.
  std::vector<bool> changed_at;  // by depth, of the entries since their parent
  for (std::size_t i = nodes.size(); i-- > 0;) {
    UpperNode& node = *nodes[i];
    if (changed_at.size() < node.depth + std::size_t{2}) changed_at.resize(node.depth + std::size_t{2});
    if (changed_at[node.depth + 1]) node.changed = true;
    changed_at[node.depth + 1] = false;
    if (node.changed) changed_at[node.depth] = true;
  }
}

/// Whether the layer leaves `path` as the lower layers have it. A copy that says the same counts as theirs: a
/// whole tree is full of them, and whether one was ever touched is not always known there.
bool shows_through(const std::string& path, const std::unordered_map<std::string, UpperNode*>& upper) {
  if (const auto itself = upper.find(path); itself != upper.end()) return !itself->second->changed;
  for (auto slash = path.rfind('/'); slash != std::string::npos && slash > 0;
       slash = path.rfind('/', slash - 1)) {
    const auto found = upper.find(path.substr(0, slash));
    if (found != upper.end()) return !found->second->hides_below;
  }
  return true;
}

/// LAY-25: a new name of an inode below makes its other names links to it as well, or they would fall apart.
std::vector<PendingEntry> other_lower_names(const std::vector<UpperNode*>& nodes, const oci::FileTree& lower,
                                            const std::vector<std::pair<std::uint64_t, std::size_t>>& kept) {
  std::vector<PendingEntry> out;
  if (kept.empty()) return out;
  std::unordered_map<std::string, UpperNode*> upper;
  for (UpperNode* const node : nodes) upper.emplace(node->entry.path, node);
  std::unordered_map<std::uint64_t, std::size_t> firsts(kept.begin(), kept.end());
  oci::walk(lower, "", [&](const std::string& path, const FileNodePtr& node) {
    const auto first = node->link_group == 0 ? firsts.end() : firsts.find(node->link_group);
    if (first == firsts.end() || !shows_through(path, upper)) return true;
    PendingEntry link;
    link.entry.kind = LayerEntry::Kind::hard_link;
    link.entry.path = path;
    link.entry.hard_link_target = nodes[first->second]->entry.path;
    out.push_back(std::move(link));
    for (auto slash = path.rfind('/'); slash != std::string::npos;
         slash = slash == 0 ? std::string::npos : path.rfind('/', slash - 1)) {
      const auto parent = upper.find(path.substr(0, slash));
      if (parent != upper.end()) parent->second->changed = true;
    }
    return true;
  });
  return out;
}

PendingEntry pending(UpperNode& node, const std::shared_ptr<const RootDir>& upper) {
  // What became part of the layer, or a link, only after it was read.
  if (oci::has_bytes(node.entry) != static_cast<bool>(node.open))
    node.open = node.open ? oci::ContentOpener() : upper_opener(upper, node.entry.path);
  return {std::move(node.entry), std::move(node.open)};
}

}  // namespace

UpperDiff diff_upper(std::shared_ptr<const RootDir> upper, const oci::FileTree& lower,
                     const DiffOptions& options) {
  UpperWalk walk = walk_upper(upper, lower, options);
  const auto kept = spread_over_links(walk.nodes, group_links(walk.nodes));
  auto others = other_lower_names(walk.nodes, lower, kept);
  include_parents(walk.nodes);
  UpperDiff out;
  for (const UpperNode* node : walk.nodes)
    if (node->linked) out.linked.push_back(node->entry.path);
  out.entries.reserve(static_cast<std::size_t>(std::count_if(
      walk.nodes.begin(), walk.nodes.end(), [](const UpperNode* node) { return node->changed; })));
  for (UpperNode* const node : walk.nodes) {
    if (node->changed) {
      out.entries.push_back(pending(*node, upper));
      continue;
    }
    const bool is_directory =
        node->entry.kind == LayerEntry::Kind::node && node->entry.attributes.type == FileType::directory;
    if (is_directory && node->below != nullptr &&
        node->entry.attributes.mtime != node->below->attributes.mtime)
      out.untold_times.emplace_back(node->entry.path, node->below->attributes.mtime);
  }
  if (!others.empty()) {
    out.entries.insert(out.entries.end(), std::make_move_iterator(others.begin()),
                       std::make_move_iterator(others.end()));
    out.entries = oci::order_entries(oci::add_parents(std::move(out.entries), lower));
    out.upper_is_exact = false;
  }
  out.fuse_marks = std::move(walk.fuse_marks);
  out.skipped_sockets = std::move(walk.sockets);
  if (!out.skipped_sockets.empty()) out.upper_is_exact = false;
  return out;
}

void forget_untold_times(const RootDir& upper, const UpperDiff& found) {
  for (const auto& [path, time] : found.untold_times) {
    const UniqueFd directory = upper.open_beneath(path, O_RDONLY | O_DIRECTORY);
    const timespec times[] = {{0, UTIME_OMIT}, {time.seconds, static_cast<long>(time.nanoseconds)}};
    if (::futimens(directory.get(), times) != 0) throw SystemError(errno, "set the time of", path);
  }
}

}  // namespace imgbuild::builder
