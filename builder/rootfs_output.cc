#include "builder/rootfs_output.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <map>

#include "base/error.h"
#include "builder/stage_source.h"
#include "builder/tree_copy.h"
#include "oci/tar_writer.h"

namespace imgbuild::builder {

void write_rootfs_tar(const oci::FileTree& tree, ContentProvider& content, std::optional<Timestamp> epoch,
                      Sink& out) {
  oci::TarOptions options;
  if (epoch) options.force_mtime = epoch->seconds;
  oci::TarWriter tar(out, options);
  std::map<std::uint64_t, std::string> first_names;
  oci::walk(tree, "", [&](const std::string& path, const oci::FileNodePtr& node) {
    oci::LayerEntry entry;
    entry.path = path;
    entry.attributes = node->attributes;
    const auto [known, fresh] = node->link_group == 0 ? std::pair(first_names.end(), true)
                                                      : first_names.emplace(node->link_group, path);
    if (!fresh) {
      entry.kind = oci::LayerEntry::Kind::hard_link;
      entry.hard_link_target = known->second;
      tar.add(entry, nullptr);
      return false;
    }
    std::unique_ptr<Source> bytes;
    if (node->attributes.type == oci::FileType::regular && node->attributes.size > 0 && node->origin) {
      bytes = content.open(*node->origin)();
    }
    tar.add(entry, bytes.get());
    return node->attributes.type == oci::FileType::directory;
  });
  tar.finish();
}

std::size_t write_rootfs_folder(const oci::FileTree& tree, std::shared_ptr<ContentProvider> content,
                                std::optional<Timestamp> epoch, const std::string& folder) {
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST)
    throw SystemError(errno, "create folder", folder);
  const UniqueFd directory = open_path(folder, O_RDONLY | O_DIRECTORY);
  const auto source = make_stage_source(tree, std::move(content));
  std::size_t skipped = 0;
  WriteOptions options;
  options.set_owner = false;
  options.replace = true;
  options.time = epoch;
  options.on_skipped = [&skipped](const std::string&) { ++skipped; };
  write_subtree(*source, "", directory.get(), options);
  return skipped;
}

}  // namespace imgbuild::builder
