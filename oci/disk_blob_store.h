#pragma once

#include <memory>
#include <string>

#include "oci/blob_store.h"

namespace imgbuild::oci {

/// What is on the disk for certain when a blob appears (STO-7).
enum class Durability {
  fast,  ///< nothing is synced: after a power loss a blob may be short, which reading it finds out
  safe,  ///< the blob's data is synced before it appears
};

/// Blobs as files `blobs/sha256/<hex>`, mode 0444, below a store directory (STO-1, STO-4). A blob is written
/// to an unnamed file and linked under its digest, so nothing half-written is ever visible, and nothing is
/// left behind by a crash. Any number of threads and processes may use one directory.
class DiskBlobStore final : public BlobStore {
 public:
  /// Creates what is missing below `store_root`. Throws SystemError.
  explicit DiskBlobStore(int store_root, Durability durability = Durability::fast);

  std::optional<std::uint64_t> find_blob(const Digest& digest) const override;
  std::unique_ptr<Source> open_blob(const Digest& digest) const override;
  UniqueFd open_blob_file(const Digest& digest) const override;
  /// A writer must not outlive the store, nor a source that open_blob() gave.
  std::unique_ptr<BlobWriter> create() override;

  /// Makes the names of all blobs published so far durable. Once a build, before something names them
  /// (STO-4). Nothing to do in the fast mode. Throws SystemError.
  void sync_published();

 private:
  UniqueFd root_;
  UniqueFd blobs_;
  UniqueFd ingest_;
  Durability durability_;
};

}  // namespace imgbuild::oci
