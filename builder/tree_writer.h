#pragma once

#include <functional>
#include <stop_token>

#include "base/unique_fd.h"
#include "oci/file_tree.h"
#include "oci/node_metadata.h"

namespace imgbuild::builder {

struct TreeWriteOptions {
  /// Opens the bytes of a regular file of the tree.
  std::function<UniqueFd(const oci::ContentOrigin&)> open;
  oci::MetadataOptions metadata;
  bool make_devices = true;  ///< false: an empty file stands for each device (FS-25)
};

/// Changes the directory `root`, which holds the tree `from`, so that it holds the tree `to`; an empty `from`
/// fills a new directory. What both trees share is not looked at. Every name becomes a file of its own, even
/// where names share an inode in the tree: a command that writes to one of them must change just this one, as
/// on an overlay. Bytes are shared with the original where the file system can do that (reflink) and copied
/// otherwise, never linked. No process may be active in `root`. Throws SystemError; the directory is then in
/// between.
void write_tree(int root, const oci::FileTree& from, const oci::FileTree& to,
                const TreeWriteOptions& options);

/// Copies the `size` bytes of the file `from` into the empty file `to` by the cheapest way there is; holes
/// stay holes. `name` is for errors. Throws SystemError.
void copy_file_content(int from, int to, std::uint64_t size, std::string_view name);

}  // namespace imgbuild::builder
