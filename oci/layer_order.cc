#include "oci/layer_order.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::oci {

namespace {

std::string_view take_component(std::string_view& path) {
  const std::size_t end = std::min(path.find('/'), path.size());
  const std::string_view name = path.substr(0, end);
  path.remove_prefix(std::min(end + 1, path.size()));
  return name;
}

bool comes_before(const LayerEntry& a, const LayerEntry& b) {
  std::string_view rest_a = a.path;
  std::string_view rest_b = b.path;
  while (!rest_a.empty() && !rest_b.empty()) {
    const std::string_view name_a = take_component(rest_a);
    const std::string_view name_b = take_component(rest_b);
    const bool gone_a = rest_a.empty() && a.kind == LayerEntry::Kind::whiteout;
    const bool gone_b = rest_b.empty() && b.kind == LayerEntry::Kind::whiteout;
    if (gone_a != gone_b) return gone_a;
    if (name_a != name_b) return name_a < name_b;
  }
  return rest_a.empty() && !rest_b.empty();
}

/// The names of one inode: the entry with the bytes, and the first of all its names.
struct LinkGroup {
  std::size_t owner = 0;
  std::size_t first = 0;
};

using NameMap = std::unordered_map<std::string, std::size_t>;

/// Follows link targets to the entry that has the bytes.
std::size_t find_owner(const std::vector<PendingEntry>& entries, const NameMap& by_name, std::size_t link) {
  std::size_t at = link;
  for (std::size_t steps = 0; steps <= entries.size(); ++steps) {
    const LayerEntry& entry = entries[at].entry;
    if (entry.kind == LayerEntry::Kind::node) {
      if (entry.attributes.type != FileType::directory) return at;
      break;
    }
    const auto target = by_name.find(entry.hard_link_target);
    if (target == by_name.end()) break;
    at = target->second;
  }
  throw Error(cat("the hard link ", printable(entries[link].entry.path), " points to ",
                  printable(entries[link].entry.hard_link_target), ", which is no file of the same layer"));
}

void relink(std::vector<PendingEntry>& entries) {
  std::vector<std::size_t> links;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].entry.kind == LayerEntry::Kind::hard_link) links.push_back(i);
  }
  if (links.empty()) return;
  NameMap by_name;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto kind = entries[i].entry.kind;
    if (kind == LayerEntry::Kind::node || kind == LayerEntry::Kind::hard_link)
      by_name[entries[i].entry.path] = i;
  }

  std::unordered_map<std::size_t, LinkGroup> groups;
  std::vector<std::size_t> owner_of(links.size());
  for (std::size_t i = 0; i < links.size(); ++i) {
    const std::size_t owner = find_owner(entries, by_name, links[i]);
    owner_of[i] = owner;
    LinkGroup& group = groups.try_emplace(owner, LinkGroup{owner, owner}).first->second;
    group.first = std::min(group.first, links[i]);
  }
  for (const auto& [owner, group] : groups) {
    if (group.first == owner) continue;
    // The names swap places, so that everything but the name of each entry stays right.
    std::swap(entries[owner], entries[group.first]);
    std::swap(entries[owner].entry.path, entries[group.first].entry.path);
  }
  for (std::size_t i = 0; i < links.size(); ++i) {
    const LinkGroup& group = groups.at(owner_of[i]);
    const std::size_t link = links[i] == group.first ? group.owner : links[i];
    entries[link].entry.hard_link_target = entries[group.first].entry.path;
    entries[link].entry.attributes = entries[group.first].entry.attributes;
  }
}

}  // namespace

std::vector<PendingEntry> order_entries(std::vector<PendingEntry> entries) {
  std::stable_sort(entries.begin(), entries.end(), [](const PendingEntry& a, const PendingEntry& b) {
    return comes_before(a.entry, b.entry);
  });
  relink(entries);
  return entries;
}

std::vector<PendingEntry> add_parents(std::vector<PendingEntry> entries, const FileTree& merged) {
  std::unordered_set<std::string> there;
  for (const auto& [entry, open] : entries) {
    if (entry.kind == LayerEntry::Kind::node) there.insert(entry.path);
  }
  const std::size_t count = entries.size();
  for (std::size_t i = 0; i < count; ++i) {
    std::string path = entries[i].entry.path;
    for (std::size_t slash = path.rfind('/'); slash != std::string::npos; slash = path.rfind('/')) {
      path.resize(slash);
      if (!there.insert(path).second)
        break;  // then all above it are there as well, or come in their own turn
      const FileNodePtr node = merged.find(path);
      if (!node || node->attributes.type != FileType::directory) {
        throw Error(cat("a layer cannot hold ", printable(entries[i].entry.path), ": ", printable(path),
                        " is not a directory of the image"));
      }
      PendingEntry parent;
      parent.entry.path = path;
      parent.entry.attributes = node->attributes;
      entries.push_back(std::move(parent));
    }
  }
  return entries;
}

}  // namespace imgbuild::oci
