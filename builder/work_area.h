#pragma once

#include <string>

#include "base/file_lock.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"

namespace imgbuild::builder {

/// This process's own directory below `steps/` of the store, for what is not finished. A lock held on it
/// tells others that its owner lives; it is removed in the destructor, and by a later start when there was
/// none (STO-30). Thread-safe.
class WorkArea {
 public:
  /// Throws SystemError.
  explicit WorkArea(int store_root);

  /// A fresh directory inside, removed with its content when dropped.
  TempDir make_dir(const std::string& prefix) const { return TempDir::create(dir_.fd(), prefix); }
  int fd() const noexcept { return dir_.fd(); }
  /// Nothing is removed any more: a process that cannot be killed may use it. Sweeps wait until process `pid`
  /// is gone (0: not known, they do not wait).
  void leave_to(int pid) noexcept;

 private:
  WorkArea(UniqueFd steps, FileLock creating);
  TempDir dir_;
  FileLock owner_;
};

/// Removes what processes that are gone left in `steps/`. Cheap when there is nothing. Returns how many were
/// removed; one that cannot be removed now stays for the next time.
int sweep_stale_steps(int store_root);

}  // namespace imgbuild::builder
