#include "oci/file_tree.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/strings.h"
#include "oci/layer_path.h"

namespace imgbuild::oci {

namespace {

FileNodePtr make_directory() {
  auto node = std::make_shared<FileNode>();
  node->attributes.type = FileType::directory;
  node->attributes.mode = 0755;
  return node;
}

bool is_directory(const FileNodePtr& node) { return node && node->attributes.type == FileType::directory; }
bool is_symlink(const FileNodePtr& node) { return node && node->attributes.type == FileType::symlink; }

const FileNodePtr* child_of(const FileNode& directory, std::string_view name) {
  const auto found = directory.children.find(name);
  return found == directory.children.end() ? nullptr : &found->second;
}

/// Takes the first component off `path`; empty and `.` components are skipped. Empty at the end.
std::string_view next_component(std::string_view& path) {
  for (;;) {
    const std::size_t start = path.find_first_not_of('/');
    if (start == std::string_view::npos) {
      path = {};
      return {};
    }
    path.remove_prefix(start);
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(name.size());
    if (name != ".") return name;
  }
}

/// Puts one layer on a tree. Directories on the way to a change are copied once; from then on the copy is
/// ours and changed in place, which nobody else can see before `apply` returns.
class Editor {
 public:
  Editor(FileNodePtr root, const DiffId& id, std::uint64_t& next_link_group)
      : root_(own(root)), id_(id), next_link_group_(next_link_group) {
    open_.push_back({std::string(), root_.get()});
  }

  void apply(const LayerIndex& layer) {
    // Whiteouts hide lower layers only, wherever they stand (FS-28): done first, they cannot hide anything
    // else.
    for (const auto& entry : layer.entries) {
      if (entry.kind == LayerEntry::Kind::whiteout) hide(entry.path);
      if (entry.kind == LayerEntry::Kind::opaque) hide_children(entry.path);
      if (entry.kind == LayerEntry::Kind::hard_link) link_targets_.emplace(entry.hard_link_target, nullptr);
    }
    for (const auto& entry : layer.entries) add(entry);
  }

  FileNodePtr take_root() { return std::move(root_); }

 private:
  /// A directory on the way to the place of the last change.
  struct Open {
    std::string path;
    FileNode* node;
  };

  std::shared_ptr<FileNode> own(const FileNodePtr& node) {
    auto copy = std::make_shared<FileNode>(*node);
    ours_.insert(copy.get());
    return copy;
  }

  /// The child as a directory we may change, made from what is there: a lower directory is kept, anything
  /// else is replaced by a new directory (FS-22).
  FileNode* enter(FileNode& parent, std::string_view name) {
    const auto found = parent.children.lower_bound(name);
    const bool there = found != parent.children.end() && found->first == name;
    // The type is asked too: a directory of ours that went away may have left its address to a file.
    if (there && is_directory(found->second) && ours_.contains(found->second.get())) {
      return const_cast<FileNode*>(found->second.get());
    }
    auto fresh = own(there && is_directory(found->second) ? found->second : empty_directory_);
    FileNode* const node = fresh.get();
    if (there) {
      found->second = std::move(fresh);
    } else {
      parent.children.emplace_hint(found, name, std::move(fresh));
    }
    return node;
  }

  /// The directory `path`, ours to change. Layers come in depth-first order, so most of the way is still
  /// open.
  FileNode& directory(std::string_view path) {
    while (!is_prefix(open_.back().path, path)) open_.pop_back();
    while (open_.back().path.size() < path.size()) {
      const std::size_t from = open_.back().path.empty() ? 0 : open_.back().path.size() + 1;
      const std::size_t end = std::min(path.find('/', from), path.size());
      FileNode* const node = enter(*open_.back().node, path.substr(from, end - from));
      open_.push_back({std::string(path.substr(0, end)), node});
    }
    return *open_.back().node;
  }

  static bool is_prefix(std::string_view directory, std::string_view path) {
    return directory.empty() || (path.starts_with(directory) &&
                                 (path.size() == directory.size() || path[directory.size()] == '/'));
  }

  bool lower_has(std::string_view path) const {
    const FileNode* node = root_.get();
    while (!path.empty()) {
      const std::string_view name = next_component(path);
      const FileNodePtr* child = child_of(*node, name);
      if (child == nullptr) return false;
      node = child->get();
    }
    return true;
  }

  void hide(std::string_view path) {
    if (path.empty() || !lower_has(path)) return;
    FileNode& parent = directory(parent_of(path));
    parent.children.erase(parent.children.find(base_name(path)));
  }

  void hide_children(std::string_view path) {
    if (lower_has(path)) directory(path).children.clear();
  }

  void add(const LayerEntry& entry) {
    switch (entry.kind) {
      case LayerEntry::Kind::node:
        return add_node(entry);
      case LayerEntry::Kind::hard_link:
        return add_link(entry);
      // An extracted layer has a directory around its markers, so the tree has it too.
      case LayerEntry::Kind::whiteout:
        (void)directory(parent_of(entry.path));
        return;
      case LayerEntry::Kind::opaque:
        (void)directory(entry.path);
        return;
    }
  }

  void add_node(const LayerEntry& entry) {
    if (entry.path.empty()) return;  // the root keeps its attributes (LAY-9)
    if (entry.attributes.type == FileType::directory) {
      FileNode& node = directory(entry.path);
      node.attributes = entry.attributes;
      return;
    }
    auto node = std::make_shared<FileNode>();
    node->attributes = entry.attributes;
    node->content = entry.content;
    if (entry.attributes.type == FileType::regular) node->origin = ContentOrigin{id_, entry.path};
    remember_target(entry.path, node);
    place(entry.path, std::move(node));
  }

  void add_link(const LayerEntry& entry) {
    const auto found = link_targets_.find(entry.hard_link_target);
    if (found == link_targets_.end() || !found->second) {
      throw IntegrityError(cat("the hard link ", printable(entry.path), " points to ",
                               printable(entry.hard_link_target), ", which is no earlier file of its layer"));
    }
    const std::shared_ptr<FileNode> node = found->second;
    if (node->link_group == 0) node->link_group = next_link_group_++;
    remember_target(entry.path, node);
    place(entry.path, node);
  }

  void remember_target(std::string_view path, const std::shared_ptr<FileNode>& node) {
    if (link_targets_.empty()) return;
    const auto found = link_targets_.find(path);
    if (found != link_targets_.end()) found->second = node;
  }

  void place(std::string_view path, FileNodePtr node) {
    FileNode& parent = directory(parent_of(path));
    const std::string_view name = base_name(path);
    auto& children = parent.children;
    if (children.empty() || children.rbegin()->first < name) {
      children.emplace_hint(children.end(), name, std::move(node));
      return;
    }
    const auto found = children.lower_bound(name);
    if (found != children.end() && found->first == name) {
      found->second = std::move(node);
    } else {
      children.emplace_hint(found, name, std::move(node));
    }
  }

  std::unordered_set<const FileNode*> ours_;  ///< directories made by this edit; first, own() needs it
  std::shared_ptr<FileNode> root_;
  const DiffId& id_;
  std::uint64_t& next_link_group_;
  const FileNodePtr empty_directory_ = make_directory();
  std::unordered_map<std::string_view, std::shared_ptr<FileNode>> link_targets_;
  std::vector<Open> open_;
};

void walk_below(const FileNode& directory, std::string& path,
                const std::function<bool(const std::string&, const FileNodePtr&)>& visit) {
  const std::size_t length = path.size();
  for (const auto& [name, child] : directory.children) {
    if (length > 0) path += '/';
    path += name;
    if (visit(path, child) && is_directory(child)) walk_below(*child, path, visit);
    path.resize(length);
  }
}

}  // namespace

FileTree::FileTree() : root_(make_directory()) {}

FileNodePtr FileTree::find(std::string_view path) const {
  const FileNodePtr* node = &root_;
  for (std::string_view name = next_component(path); !name.empty(); name = next_component(path)) {
    node = child_of(**node, name);
    if (node == nullptr) return nullptr;
  }
  return *node;
}

FileTree::Resolved FileTree::resolve(std::string_view path, bool follow_last) const {
  std::string todo(path);
  std::string_view rest = todo;
  // The way from the root; behind the first missing component the nodes are nullptr.
  std::vector<std::pair<std::string, FileNodePtr>> way;
  int links = 0;
  for (std::string_view name = next_component(rest); !name.empty(); name = next_component(rest)) {
    if (name == "..") {
      if (!way.empty()) way.pop_back();
      continue;
    }
    const FileNodePtr parent = way.empty() ? root_ : way.back().second;
    const FileNodePtr* child = parent ? child_of(*parent, name) : nullptr;
    // A slash behind the last component asks for what the link points to, as the kernel does.
    if (child == nullptr || !is_symlink(*child) || (rest.empty() && !follow_last)) {
      way.emplace_back(name, child != nullptr ? *child : nullptr);
      continue;
    }
    if (++links > kMaxLinks) throw Error(cat("too many links while resolving ", printable(path)));
    std::string target = (*child)->attributes.link_target;
    if (target.starts_with('/')) way.clear();
    target += '/';
    target += rest;
    todo = std::move(target);
    rest = todo;
  }
  Resolved result{std::string(), root_};
  for (auto& [name, node] : way) {
    if (!result.path.empty()) result.path += '/';
    result.path += name;
    result.node = node;
  }
  return result;
}

FileTree FileTree::apply(const LayerIndex& layer, const DiffId& id) const {
  FileTree next(root_);
  next.next_link_group_ = next_link_group_;
  Editor editor(root_, id, next.next_link_group_);
  editor.apply(layer);
  next.root_ = editor.take_root();
  return next;
}

void walk(const FileTree& tree, std::string_view path,
          const std::function<bool(const std::string& path, const FileNodePtr& node)>& visit) {
  const FileNodePtr start = tree.find(path);
  if (!is_directory(start)) return;
  std::string prefix;
  for (std::string_view name = next_component(path); !name.empty(); name = next_component(path)) {
    if (!prefix.empty()) prefix += '/';
    prefix += name;
  }
  walk_below(*start, prefix, visit);
}

}  // namespace imgbuild::oci
