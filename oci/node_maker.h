#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "oci/layer_entry.h"
#include "oci/node_metadata.h"
#include "oci/tar_sparse.h"

namespace imgbuild::oci {

/// Makes inodes below directories that are open, with their attributes. Names must be free. Not thread-safe.
class NodeMaker {
 public:
  explicit NodeMaker(MetadataWriter& metadata) : metadata_(metadata), buffer_(kBufferSize) {}

  using Read = std::function<std::size_t(std::span<char>)>;

  /// A regular file with the bytes `read` gives until it returns 0. Throws Error when they are not
  /// `attributes.size`. With `extents`, `read` gives their bytes one after the other and the rest stays a
  /// hole.
  void make_file(int dir, const std::string& name, const FileAttributes& attributes, const std::string& path,
                 const Read& read, const std::vector<tar::SparseExtent>* extents = nullptr);
  /// A symlink, device or fifo.
  void make_special(int dir, const std::string& name, const FileAttributes& attributes,
                    const std::string& path);

 private:
  static constexpr std::size_t kBufferSize = 256 * 1024;

  void check_space(int fd, std::uint64_t bytes);

  MetadataWriter& metadata_;
  std::vector<char> buffer_;
  std::uint64_t unchecked_ = kSpaceInterval;

  static constexpr std::uint64_t kSpaceInterval = 64 << 20;
};

}  // namespace imgbuild::oci
