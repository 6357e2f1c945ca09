#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"

namespace imgbuild::oci {

/// Descriptors of the directories on the way to the last path asked for, below a tree only we write to.
/// Neighbouring paths cost no walk from the root. Links are never followed. Not thread-safe.
class DirStack {
 public:
  /// `root` stays the caller's.
  explicit DirStack(int root) : root_(root) {}

  /// The directory `path` ("" is the root), made with mode 0700 where it is missing. The descriptor is ours,
  /// valid until the next call. Throws SystemError.
  int enter(std::string_view path);
  /// Forgets what is open: a directory on the way may have been replaced.
  void forget() noexcept { open_.clear(); }

 private:
  struct Open {
    std::string path;
    UniqueFd fd;
  };
  int top() const noexcept { return open_.empty() ? root_ : open_.back().fd.get(); }

  const int root_;
  std::vector<Open> open_;
};

}  // namespace imgbuild::oci
