#include "oci/layer_names.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/strings.h"
#include "oci/layer_path.h"

namespace imgbuild::oci {

namespace {

constexpr std::size_t kMaxPath = 4096;
constexpr std::size_t kNoEntry = static_cast<std::size_t>(-1);

[[noreturn]] void fail(std::string_view path, std::string_view why) {
  throw IntegrityError(cat("the layer's entry \"", printable(path), "\" ", why));
}

}  // namespace

/// A file with several names: the entry that has its bytes, and the entries that are links to it.
struct LayerNames::Inode {
  std::size_t owner = kNoEntry;
  std::vector<std::size_t> links;
};

/// A name the layer itself gave a meaning.
struct LayerNames::Name {
  FileType type = FileType::directory;
  std::size_t entry = kNoEntry;  ///< directories the layer only implies have none
  std::shared_ptr<Inode> inode;  ///< only of files with several names
  Name* parent = nullptr;
  std::string_view name;  ///< the key in the parent's map
  std::size_t path_length = 0;
  std::map<std::string, std::unique_ptr<Name>, std::less<>> children;
  // Markers: the entry of the opaque one, and those of the whiteouts in this directory.
  std::size_t opaque = kNoEntry;
  std::map<std::string, std::size_t, std::less<>> gone;

  std::string path() const {
    if (parent == nullptr) return {};
    std::string above = parent->path();
    return above.empty() ? std::string(name) : cat(above, "/", name);
  }
};

LayerNames::LayerNames(std::uint64_t max_names) : root_(std::make_unique<Name>()), names_left_(max_names) {}
LayerNames::~LayerNames() = default;
LayerNames::LayerNames(LayerNames&&) noexcept = default;
LayerNames& LayerNames::operator=(LayerNames&&) noexcept = default;

Placement LayerNames::add(LayerEntry& entry) {
  switch (entry.kind) {
    case LayerEntry::Kind::whiteout:
    case LayerEntry::Kind::opaque:
      return add_marker(entry);
    case LayerEntry::Kind::hard_link:
      return add_hard_link(entry);
    case LayerEntry::Kind::node:
      break;
  }
  return add_node(entry);
}

/// The name in `parent`, made a directory when it is new.
LayerNames::Name& LayerNames::child(Name& parent, std::string_view name) {
  const auto found = parent.children.find(name);
  if (found != parent.children.end()) return *found->second;
  if (names_left_-- == 0) throw IntegrityError("the layer has too many names");
  auto made = std::make_unique<Name>();
  made->parent = &parent;
  made->path_length = parent.path_length + 1 + name.size();
  if (made->path_length > kMaxPath + 1) fail(name, "lies deeper than 4096 bytes of path");
  const auto at = parent.children.emplace(std::string(name), std::move(made)).first;
  at->second->name = at->first;
  return *at->second;
}

std::size_t LayerNames::keep(const LayerEntry& entry) {
  entries_.push_back(entry);
  dead_.push_back(false);
  return entries_.size() - 1;
}

/// The directory `path` of this layer, with links followed inside the layer and missing directories made.
LayerNames::Name& LayerNames::resolve_directory(std::string_view path) {
  std::string todo(path);
  std::size_t at = 0;
  Name* directory = root_.get();
  int links = 0;
  while (at < todo.size()) {
    const std::size_t end = std::min(todo.find('/', at), todo.size());
    const std::string component = todo.substr(at, end - at);
    at = std::min(end + 1, todo.size());
    if (component.empty() || component == ".") continue;
    if (component == "..") {
      if (directory->parent != nullptr) directory = directory->parent;
      continue;
    }
    Name& next = child(*directory, component);
    if (next.type == FileType::directory) {
      directory = &next;
      continue;
    }
    if (next.type != FileType::symlink) fail(path, "lies below something that is not a directory");
    if (++links > kMaxLinks) fail(path, "leads through too many links");
    const std::string& target = entries_[next.entry].attributes.link_target;
    if (target.starts_with('/')) directory = root_.get();
    todo = cat(target, "/", todo.substr(at));
    at = 0;
  }
  return *directory;
}

LayerNames::Name& LayerNames::parent_directory(std::string_view path) {
  const std::string_view parent = parent_of(path);
  if (last_parent_ == nullptr || last_parent_path_ != parent) {
    last_parent_ = &resolve_directory(parent);
    last_parent_path_ = parent;
    last_parent_real_ = last_parent_->path();
  }
  return *last_parent_;
}

/// Where `path` is, after parent_directory() looked for its parent.
std::string LayerNames::real_path(std::string_view path) const {
  return last_parent_real_.empty() ? std::string(base_name(path))
                                   : cat(last_parent_real_, "/", base_name(path));
}

Placement LayerNames::add_marker(LayerEntry& entry) {
  if (entry.kind == LayerEntry::Kind::opaque) {
    Name& directory = resolve_directory(entry.path);
    if (directory.opaque != kNoEntry) return Placement::ignore;
    entry.path = directory.path();
    directory.opaque = keep(entry);
    return Placement::mark;
  }
  if (entry.path.empty()) return Placement::ignore;
  Name& parent = parent_directory(entry.path);
  const std::string_view name = base_name(entry.path);
  if (parent.gone.contains(name)) return Placement::ignore;
  LayerEntry kept = entry;
  kept.path = real_path(entry.path);
  parent.gone.emplace(name, keep(kept));
  entry.path = std::move(kept.path);
  return Placement::mark;
}

Placement LayerNames::add_node(LayerEntry& entry) {
  if (entry.path.empty()) return Placement::ignore;
  const FileAttributes& a = entry.attributes;
  if (a.type == FileType::char_device && a.device_major == 0 && a.device_minor == 0) {
    warnings_.push_back(cat("the layer holds the character device 0:0 as \"", printable(entry.path),
                            "\", which deletes that name as a whiteout would"));
    entry = LayerEntry{.kind = LayerEntry::Kind::whiteout, .path = entry.path};
    return add_marker(entry);
  }
  return place(parent_directory(entry.path), entry);
}

Placement LayerNames::add_hard_link(LayerEntry& entry) {
  Name& target_parent = resolve_directory(parent_of(entry.hard_link_target));
  const auto target = target_parent.children.find(base_name(entry.hard_link_target));
  if (target == target_parent.children.end() || target->second->type == FileType::directory) {
    fail(entry.path, cat("is a hard link to \"", printable(entry.hard_link_target),
                         "\", which is no earlier file of the layer"));
  }
  Name& file = *target->second;
  Name& parent = parent_directory(entry.path);
  const auto existing = parent.children.find(base_name(entry.path));
  for (const Name* at = &file; existing != parent.children.end() && at != nullptr; at = at->parent) {
    if (at == existing->second.get()) fail(entry.path, "is a hard link to something it would replace");
  }
  if (!file.inode) file.inode = std::make_shared<Inode>(Inode{file.entry, {}});
  const auto inode = file.inode;
  const FileType type = file.type;

  const Placement placement = place(parent, entry);
  Name& made = *parent.children.find(base_name(entry.path))->second;
  made.type = type;
  made.inode = inode;
  inode->links.push_back(made.entry);
  entry.hard_link_target = entries_[inode->owner].path;
  entries_[made.entry].hard_link_target = entry.hard_link_target;
  return placement;
}

Placement LayerNames::place(Name& parent, LayerEntry& entry) {
  const bool directory = entry.kind == LayerEntry::Kind::node && entry.attributes.type == FileType::directory;
  entry.path = real_path(entry.path);
  const std::string_view name = base_name(entry.path);
  Placement placement = Placement::create;
  if (const auto found = parent.children.find(name); found != parent.children.end()) {
    Name& old = *found->second;
    if (old.type == FileType::directory && directory) {
      if (old.entry == kNoEntry) {
        old.entry = keep(entry);  // so far the layer had only implied it
      } else {
        entries_[old.entry].attributes = entry.attributes;
      }
      return Placement::update;
    }
    placement = old.type == FileType::directory ? Placement::replace_tree : Placement::replace_file;
    remove(old);
    parent.children.erase(found);
  }
  Name& made = child(parent, name);
  made.type = entry.kind == LayerEntry::Kind::node ? entry.attributes.type : FileType::regular;
  made.entry = keep(entry);
  return placement;
}

/// Forgets the entries at and below `name`.
void LayerNames::remove(Name& name) {
  last_parent_ = nullptr;
  ++names_left_;
  for (const auto& [child_name, below] : name.children) remove(*below);
  remove_markers(name);
  if (name.entry == kNoEntry) return;
  dead_[name.entry] = true;
  if (name.inode && name.inode->owner == name.entry) hand_over(*name.inode);
}

/// The directory they speak of is no more.
void LayerNames::remove_markers(const Name& directory) {
  if (directory.opaque != kNoEntry) dead_[directory.opaque] = true;
  for (const auto& [name, entry] : directory.gone) dead_[entry] = true;
}

/// The bytes of a file whose name goes live on under the first of its other names.
void LayerNames::hand_over(Inode& inode) {
  std::erase_if(inode.links, [&](std::size_t link) { return dead_[link]; });
  if (inode.links.empty()) return;
  const std::size_t heir = inode.links.front();
  inode.links.erase(inode.links.begin());
  LayerEntry& entry = entries_[heir];
  entry.kind = LayerEntry::Kind::node;
  entry.attributes = entries_[inode.owner].attributes;
  entry.content = entries_[inode.owner].content;
  entry.hard_link_target.clear();
  inode.owner = heir;
  for (const std::size_t link : inode.links) entries_[link].hard_link_target = entry.path;
}

void LayerNames::list(const Name& directory, const std::string& path, bool hidden,
                      std::vector<LayerDirectory>& out) const {
  const bool gone = directory.parent != nullptr && directory.parent->gone.contains(directory.name);
  LayerDirectory listed{
      .path = path, .opaque = directory.opaque != kNoEntry || gone, .hidden_below = hidden || gone};
  if (directory.entry != kNoEntry) listed.attributes = entries_[directory.entry].attributes;
  for (const auto& [name, marker] : directory.gone) {
    if (!directory.children.contains(name)) listed.whiteouts.push_back(name);
  }
  const bool children_hidden = listed.hidden_below || listed.opaque;
  out.push_back(std::move(listed));
  for (const auto& [name, child] : directory.children) {
    if (child->type != FileType::directory) continue;
    list(*child, path.empty() ? name : cat(path, "/", name), children_hidden, out);
  }
}

std::vector<LayerDirectory> LayerNames::directories() const {
  std::vector<LayerDirectory> out;
  list(*root_, "", false, out);
  return out;
}

LayerIndex LayerNames::take_index() {
  LayerIndex index;
  index.entries.reserve(entries_.size());
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (!dead_[i]) index.entries.push_back(std::move(entries_[i]));
  }
  return index;
}

}  // namespace imgbuild::oci
