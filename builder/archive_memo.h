#pragma once

#include <cstdint>
#include <string>

#include "base/digest.h"
#include "base/store_dir.h"

namespace imgbuild::builder {

/// Which archives a store wrote where, so that one which still is there and would get the same bytes again is
/// not written again. An archive is known by its recipe (oci::archive_recipe) and the file by device, inode,
/// size and times. One small file of the store (docs/formats/store.md); what cannot be read or written is
/// forgotten, which costs only time. Thread- and process-safe.
class ArchiveMemo {
 public:
  /// `store` is borrowed; -1: nothing is remembered. `epoch` of the store: after a crash of the machine the
  /// file may have lost bytes and kept its times (STO-8).
  ArchiveMemo(const StoreDir& store, std::uint64_t epoch) : store_(store), epoch_(epoch) {}

  /// Whether the file at `path` still is what remember() saw with this recipe. Then it has a new modification
  /// time, as if it had been written, so that make and its like see a fresh target.
  bool is_current(const std::string& path, const Digest& recipe) const noexcept;

  /// `fd`: the complete archive under its final name. Gives it a modification time that no later write in the
  /// same tick of the file system's clock can give it.
  void remember(int fd, const Digest& recipe) const noexcept;

 private:
  const StoreDir& store_;
  const std::uint64_t epoch_;
};

}  // namespace imgbuild::builder
