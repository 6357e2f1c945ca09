#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "oci/tar_format.h"

namespace imgbuild::oci::tar {

/// A piece of a sparse file that has bytes; what lies between is zeros.
struct SparseExtent {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

inline constexpr std::size_t kMaxSparseExtents = 65'536;  // FS-32
inline constexpr std::size_t kMaxSparseMap = 1 << 20;

/// Collects the extents of one file from any of the notations. Every add throws IntegrityError beyond the
/// limits.
class SparseMap {
 public:
  void add(std::uint64_t offset, std::uint64_t size);
  /// The pairs in a GNU header or a block of more; an empty pair ends the list.
  void add_header_pairs(std::string_view pairs);
  /// "offset,size,offset,size…" of PAX format 0.1.
  void add_text(std::string_view text);

  /// The extents when they ascend, do not overlap, lie inside `real_size` and have `stored_size` bytes
  /// together. Throws IntegrityError otherwise.
  std::vector<SparseExtent> take(std::uint64_t real_size, std::uint64_t stored_size);

 private:
  std::vector<SparseExtent> extents_;
};

}  // namespace imgbuild::oci::tar
