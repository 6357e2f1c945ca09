#pragma once

#include <string>
#include <utility>

#include "base/stream.h"
#include "oci/layer_entry.h"

/// Layer entries in few words.
namespace imgbuild::tests {

inline oci::LayerEntry node_entry(std::string path, oci::FileType type, std::uint32_t mode) {
  oci::LayerEntry entry;
  entry.path = std::move(path);
  entry.attributes.type = type;
  entry.attributes.mode = mode;
  return entry;
}
inline oci::LayerEntry dir_entry(std::string path, std::uint32_t mode = 0755) {
  return node_entry(std::move(path), oci::FileType::directory, mode);
}
inline oci::LayerEntry file_entry(std::string path, std::uint64_t size = 0) {
  auto entry = node_entry(std::move(path), oci::FileType::regular, 0644);
  entry.attributes.size = size;
  return entry;
}
inline oci::LayerEntry symlink_entry(std::string path, std::string target) {
  auto entry = node_entry(std::move(path), oci::FileType::symlink, 0777);
  entry.attributes.link_target = std::move(target);
  return entry;
}
inline oci::LayerEntry special_entry(std::string path, oci::LayerEntry::Kind kind, std::string target = {}) {
  oci::LayerEntry entry;
  entry.kind = kind;
  entry.path = std::move(path);
  entry.hard_link_target = std::move(target);
  return entry;
}
inline oci::LayerEntry hard_link_entry(std::string path, std::string target) {
  return special_entry(std::move(path), oci::LayerEntry::Kind::hard_link, std::move(target));
}
inline oci::LayerEntry whiteout_entry(std::string path) {
  return special_entry(std::move(path), oci::LayerEntry::Kind::whiteout);
}
inline oci::LayerEntry opaque_entry(std::string path) {
  return special_entry(std::move(path), oci::LayerEntry::Kind::opaque);
}

/// With the bytes of a regular file.
inline oci::PendingEntry pending(oci::LayerEntry entry, std::string content = {}) {
  entry.attributes.size = content.size();
  oci::ContentOpener open;
  if (!content.empty()) open = [content] { return std::make_unique<StringSource>(content); };
  return {std::move(entry), std::move(open)};
}

}  // namespace imgbuild::tests
