#pragma once

#include <string>

#include "base/unique_fd.h"

namespace imgbuild {

/// A fresh directory (0700, unpredictable name) below a directory we own; removed with all its content in the
/// destructor unless released. Move-only.
class TempDir {
 public:
  /// Throws SystemError.
  static TempDir create(int parent, const std::string& prefix);
  /// Below a path; `$TMPDIR` is the caller's business.
  static TempDir create(const std::string& parent, const std::string& prefix);

  TempDir(TempDir&&) noexcept;
  TempDir& operator=(TempDir&&) noexcept;
  ~TempDir();

  int fd() const noexcept { return dir_.get(); }
  int parent_fd() const noexcept { return parent_.get(); }
  const std::string& name() const noexcept { return name_; }
  /// Keeps the directory: it was renamed or belongs to someone else now.
  void release() noexcept { name_.clear(); }

 private:
  TempDir(UniqueFd parent, std::string name, UniqueFd dir) noexcept;
  void remove() noexcept;
  UniqueFd parent_;
  std::string name_;
  UniqueFd dir_;
};

/// 16 random hex digits from the kernel, for names only.
std::string random_name();

}  // namespace imgbuild
