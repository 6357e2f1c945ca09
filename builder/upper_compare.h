#pragma once

#include <memory>

#include "builder/diff.h"
#include "builder/upper_walk.h"

namespace imgbuild::builder {

/// Finds out whether a copy in the upper directory says the same as what it covers. Keeps its buffers; not
/// thread-safe.
class UpperCompare {
 public:
  /// `options` is borrowed.
  explicit UpperCompare(const DiffOptions& options) : options_(options) {}

  /// OVL-21. A copy the kernel made before a change that did not come has the times of the original. `name`
  /// in `dir` is where the bytes of `node` are. Throws SystemError.
  bool same(int dir, const char* name, const UpperNode& node);

 private:
  bool is_placeholder(const oci::FileAttributes& here, const oci::FileAttributes& there) const;
  bool same_bytes(int a, int b, const std::string& path);

  const DiffOptions& options_;
  std::unique_ptr<char[]> buffer_;
};

}  // namespace imgbuild::builder
