#pragma once

#include <optional>
#include <string>

#include "base/stream.h"
#include "builder/content_provider.h"
#include "oci/file_tree.h"

namespace imgbuild::builder {

/// Writes a root file system as one tar with the owners it has in the image (EXP-25): no whiteouts, hard
/// links kept, sorted. With `epoch` every time becomes it (REP-2).
void write_rootfs_tar(const oci::FileTree& tree, ContentProvider& content, std::optional<Timestamp> epoch,
                      Sink& out);

/// Writes it into a folder, which is made if need be: owners are whoever builds, devices are left out
/// (EXP-24). Returns how many were.
std::size_t write_rootfs_folder(const oci::FileTree& tree, std::shared_ptr<ContentProvider> content,
                                std::optional<Timestamp> epoch, const std::string& folder);

}  // namespace imgbuild::builder
