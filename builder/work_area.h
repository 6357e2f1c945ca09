#pragma once

#include <string>

#include "base/store_dir.h"
#include "base/temp_dir.h"

namespace imgbuild::builder {

/// A directory below `work/` of the store for what RUN steps do not finish. It is removed in the destructor,
/// and by a later start when there was none (STO-30). Thread-safe.
class WorkArea {
 public:
  /// Throws SystemError.
  explicit WorkArea(const StoreDir& store) : dir_(store.make_work_dir()) {}

  /// A fresh directory inside, removed with its content when dropped.
  TempDir make_dir(const std::string& prefix) const { return TempDir::create(dir_.fd(), prefix); }
  int fd() const noexcept { return dir_.fd(); }
  /// Nothing is removed any more: a process that cannot be killed may use it. Sweeps wait until process `pid`
  /// is gone (0: not known, they do not wait).
  void leave_to(int pid) noexcept;

 private:
  TempDir dir_;
};

/// Removes what processes that are gone left in `work/`, but for what they left to a command that still runs.
/// Returns how many names were removed.
int sweep_stale_work(const StoreDir& store);

}  // namespace imgbuild::builder
