#include "builder/draft_tree.h"

#include "base/error.h"
#include "base/strings.h"
#include "builder/path_stack.h"
#include "oci/layer_path.h"

namespace imgbuild::builder {

namespace {

using oci::FileType;

/// The child the tree below has, whether it is hidden by now or not.
oci::FileNodePtr lower_child(const oci::FileNodePtr& lower, std::string_view name) {
  if (!lower || lower->attributes.type != FileType::directory) return nullptr;
  const auto found = lower->children.find(name);
  return found == lower->children.end() ? nullptr : found->second;
}

/// Whether a node is what the tree below has there anyway, so that the layer need not say it (LAY-38). Layers
/// have whole seconds. What stands below a directory, and its time, is not asked.
bool equals_lower(const DraftNode& node) {
  if (!node.lower || node.link_group != 0 || node.lower->link_group != 0) return false;
  oci::FileAttributes mine = node.attributes;
  const oci::FileAttributes& lower = node.lower->attributes;
  if (node.is_directory() ? !node.merges : mine.mtime.seconds != lower.mtime.seconds) return false;
  mine.mtime = lower.mtime;
  if (mine != lower) return false;
  if (mine.type != FileType::regular || mine.size == 0) return true;
  return node.content && node.lower->content && *node.content == *node.lower->content;
}

/// Writes the changed part of a draft as layer entries.
class LayerEmitter {
 public:
  std::vector<oci::PendingEntry> run(DraftNode& root) {
    emit_children(root, "");
    return std::move(entries_);
  }

 private:
  void emit(DraftNode& node, std::string path) {
    const bool unchanged = equals_lower(node);
    if (node.is_directory()) {
      add(node, path);
      const std::size_t alone = entries_.size();
      emit_whiteouts(node, path);
      emit_children(node, path);
      if (unchanged && entries_.size() == alone) entries_.pop_back();
      return;
    }
    if (unchanged) return;
    if (node.link_group == 0) return add(node, std::move(path));
    const auto [first, is_first] = first_names_.emplace(node.link_group, path);
    if (is_first) return add(node, std::move(path));
    oci::LayerEntry entry;
    entry.kind = oci::LayerEntry::Kind::hard_link;
    entry.path = std::move(path);
    entry.attributes = std::move(node.attributes);
    entry.hard_link_target = first->second;
    entries_.push_back({std::move(entry), {}});
  }

  void add(DraftNode& node, std::string path) {
    oci::LayerEntry entry;
    entry.path = std::move(path);
    entry.attributes = std::move(node.attributes);
    entry.content = node.content;
    entries_.push_back({std::move(entry), std::move(node.open)});
  }

  /// A directory that was removed and made again: what was in it must not shine through (LAY-30).
  void emit_whiteouts(const DraftNode& node, const std::string& path) {
    if (node.merges || !node.lower || node.lower->attributes.type != FileType::directory) return;
    for (const auto& [name, child] : node.lower->children) {
      if (node.children.contains(name)) continue;
      oci::LayerEntry entry;
      entry.kind = oci::LayerEntry::Kind::whiteout;
      entry.path = cat(path, '/', name);
      entries_.push_back({std::move(entry), {}});
    }
  }

  void emit_children(DraftNode& node, const std::string& path) {
    for (auto& [name, child] : node.children) {
      if (child->in_layer) emit(*child, path.empty() ? name : cat(path, '/', name));
    }
  }

  std::vector<oci::PendingEntry> entries_;
  std::map<std::uint64_t, std::string> first_names_;
};

}  // namespace

DraftTree::DraftTree(const oci::FileTree& below, const Timestamp& now)
    : below_(below), root_(std::make_unique<DraftNode>()), now_(now) {
  root_->attributes = below.root()->attributes;
  root_->lower = below.root();
  root_->merges = true;
  root_->parent = root_.get();
}

DraftNode* DraftTree::find(DraftNode& directory, std::string_view name) {
  const auto found = directory.children.find(name);
  if (found != directory.children.end()) return found->second.get();
  if (!directory.merges) return nullptr;
  auto lower = lower_child(directory.lower, name);
  if (!lower) return nullptr;
  DraftNode& node = insert(directory, name, lower);
  node.attributes = lower->attributes;
  node.merges = node.is_directory();
  return &node;
}

DraftNode& DraftTree::insert(DraftNode& directory, std::string_view name, oci::FileNodePtr lower) {
  auto& slot = directory.children[std::string(name)];
  slot = std::make_unique<DraftNode>();
  slot->parent = &directory;
  slot->name = directory.children.find(name)->first;
  slot->lower = std::move(lower);
  return *slot;
}

DraftTree::Place DraftTree::resolve(DraftNode& root, std::string_view path, bool follow_last,
                                    DraftNode* start) {
  std::vector<std::string> ahead;
  push_components(ahead, path);
  Place place{start == nullptr ? &root : start, {}};
  int links = 0;
  while (!ahead.empty()) {
    std::string name = std::move(ahead.back());
    ahead.pop_back();
    if (name == "..") {
      if (!place.missing.empty())
        place.missing.pop_back();
      else if (place.node != &root)
        place.node = place.node->parent;
      continue;
    }
    DraftNode* const child = place.exists() && place.node->is_directory() ? find(*place.node, name) : nullptr;
    if (child == nullptr) {
      place.missing.push_back(std::move(name));
    } else if (child->attributes.type != FileType::symlink || (ahead.empty() && !follow_last)) {
      place.node = child;
    } else {
      if (++links > oci::kMaxLinks) throw Error(cat("\"", printable(path), "\": too many links"));
      if (child->attributes.link_target.starts_with('/')) place.node = &root;
      push_components(ahead, child->attributes.link_target);
    }
  }
  return place;
}

DraftNode& DraftTree::make_directories(const Place& place, const oci::FileAttributes& attributes) {
  DraftNode* node = place.node;
  if (!node->is_directory()) throw Error(cat("mkdir ", printable(path_of(*node)), ": not a directory"));
  for (const auto& name : place.missing) {
    oci::FileAttributes fresh = attributes;
    fresh.type = FileType::directory;
    fresh.mtime = now_;
    node = &put(*node, name, std::move(fresh));
  }
  return *node;
}

DraftNode& DraftTree::put(DraftNode& directory, std::string_view name, oci::FileAttributes attributes) {
  if (name.starts_with(".wh.")) {  // OVL-27: it would delete somebody's file
    throw Error(cat("\"", printable(name), "\": file name starts with .wh., which no layer can hold"));
  }
  DraftNode& node = insert(directory, name, lower_child(directory.lower, name));
  node.attributes = std::move(attributes);
  set_mtime(directory, now_);
  mark(node);
  return node;
}

void DraftTree::set_attributes(DraftNode& directory, oci::FileAttributes attributes) {
  directory.attributes = std::move(attributes);
  mark(directory);
}

void DraftTree::set_mtime(DraftNode& directory, const Timestamp& mtime) {
  directory.attributes.mtime = mtime;
  mark(directory);
}

DraftNode& DraftTree::link(DraftNode& directory, std::string_view name, DraftNode& target) {
  if (target.link_group == 0) target.link_group = new_link_group();
  const std::uint64_t group = target.link_group;
  const oci::ContentOpener open = target.open;
  const auto content = target.content;
  DraftNode& node = put(directory, name, oci::FileAttributes(target.attributes));
  node.link_group = group;
  node.open = open;
  node.content = content;
  return node;
}

void DraftTree::mark(DraftNode& node) noexcept {
  for (DraftNode* at = &node; !at->in_layer; at = at->parent) at->in_layer = true;
}

std::string DraftTree::path_of(const DraftNode& node) {
  if (node.parent == &node) return "/";
  const std::string parent = path_of(*node.parent);
  return parent == "/" ? cat(parent, node.name) : cat(parent, '/', node.name);
}

std::vector<oci::PendingEntry> DraftTree::take_layer() { return LayerEmitter().run(*root_); }

}  // namespace imgbuild::builder
