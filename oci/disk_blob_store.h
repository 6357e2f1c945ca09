#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <stop_token>
#include <vector>

#include "base/key_locks.h"
#include "base/store_dir.h"
#include "base/syncer.h"
#include "oci/blob_store.h"
#include "oci/write_guard.h"

namespace imgbuild::oci {

struct DiskBlobStoreOptions {
  /// Puts a blob's bytes on the disk before it appears (STO-7). None: nothing is synced; after a power loss a
  /// blob may be short, which its next user finds out.
  Syncer* syncer = nullptr;
  /// Counts the boots of the machine. A blob that was not synced is believed without a look at its bytes only
  /// in the epoch it was published in (STO-8).
  std::uint64_t epoch = 1;
  bool look_only = false;  ///< a wrong blob stays where it is, for whoever only wants to know
  /// Asked before bytes are written, to keep limits of the store; none: there are none.
  WriteGuard* guard = nullptr;
  /// Locks that keep blobs from being removed while somebody uses them; none: nobody removes any.
  KeyLocks* leases = nullptr;
  std::stop_token stop = {};  ///< ends every reading and writing of a blob with Cancelled
};

/// Blobs as files `blobs/sha256/<hex>`, mode 0444, below a store directory (STO-1, STO-4). A blob is written
/// to an unnamed file and linked under its digest, so nothing half-written is ever visible, and nothing is
/// left behind by a crash. Any number of threads and processes may use one directory.
///
/// A blob's modification time says how far it may be trusted: 0 seconds when it was synced, else the epoch it
/// was published or last checked in. Any other (somebody wrote to it, copied it here, or the machine lost
/// power) makes find_blob() hash the file once before it counts as stored (docs/formats/store.md).
///
/// Whatever was asked for or published holds its lease as long as this object lives, taken before the look
/// (STO-21).
class DiskBlobStore final : public BlobStore {
 public:
  /// Creates what is missing below `store`. Throws SystemError.
  explicit DiskBlobStore(const StoreDir& store, DiskBlobStoreOptions options = {});

  std::optional<std::uint64_t> find_blob(const Digest& digest) const override;
  std::unique_ptr<Source> open_blob(const Digest& digest) const override;
  UniqueFd open_blob_file(const Digest& digest) const override;
  /// A writer must not outlive the store, nor a source that open_blob() gave.
  std::unique_ptr<BlobWriter> create() override;
  std::vector<Digest> set_aside() const override;

  void sync_published() override;

  /// Checks the bytes of a stored blob now, whatever its time says; one that is wrong is set aside when
  /// `repair`. False when it was wrong or is not there.
  bool check_blob(const Digest& digest, bool repair) const;

 private:
  class Reader;
  class Writer;
  void hold(const Digest& digest) const;
  void put_aside(const Digest& digest, int file) const noexcept;
  UniqueFd open_file(const Digest& digest) const;

  StoreDir store_;
  UniqueFd root_;
  UniqueFd blobs_;
  DiskBlobStoreOptions options_;
  mutable std::mutex mutex_;
  mutable std::vector<Digest> set_aside_;
};

}  // namespace imgbuild::oci
