#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "oci/layer_index.h"

namespace imgbuild::builder {

/// How one file differs from what it was.
struct FileChange {
  std::string path;
  std::string what;        ///< "content changed", "mode 0644 became 0755", "new", "gone"
  bool mode_only = false;  ///< nothing but permission bits
};

/// From the texts a key keeps of a file (copy_key): "TYPE MODE UID:GID …". One that is empty does not exist.
FileChange compare_file_fields(std::string path, std::string_view before, std::string_view after);

/// What a layer that is to be made would have that the layer described by `before` has not, in order of
/// paths. Opens files only where attributes do not tell, and stops after `limit` changes. Times do not count.
std::vector<FileChange> compare_files(const oci::LayerIndex& before,
                                      const std::vector<oci::PendingEntry>& now, std::size_t limit);

}  // namespace imgbuild::builder
