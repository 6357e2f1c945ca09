#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/digest.h"
#include "base/stream.h"
#include "base/unique_fd.h"

namespace imgbuild::oci {

/// A blob being written. Others see it only after commit(); the destructor discards.
class BlobWriter : public Sink {
 public:
  /// Publishes what was written under `digest`, which must be the SHA-256 of exactly these bytes: the caller
  /// has hashed them on their way in, and nothing is read again. Content if that blob is already there.
  virtual void commit(const Digest& digest) = 0;
};

/// Bytes under their digest (STO-4, EXP-22). Thread-safe.
class BlobStore {
 public:
  virtual ~BlobStore() = default;
  /// Size in bytes, nothing when the blob is not stored or turned out to be damaged.
  virtual std::optional<std::uint64_t> find_blob(const Digest& digest) const = 0;
  /// Reads the blob and checks it on the way: the end of stream is believed only when digest and size
  /// matched, otherwise IntegrityError and the blob is set aside (STO-9). Throws Error when it is not there.
  virtual std::unique_ptr<Source> open_blob(const Digest& digest) const = 0;
  /// The file itself, for copy_file_range and links; empty when the store has no files.
  virtual UniqueFd open_blob_file(const Digest& digest) const = 0;
  virtual std::unique_ptr<BlobWriter> create() = 0;
  /// Makes the names of all blobs published so far durable, where the store syncs at all. Once a build,
  /// before something names them (STO-4). Throws SystemError.
  virtual void sync_published() {}
  /// The blobs that turned out wrong so far and no longer count as stored, in the order they were found.
  virtual std::vector<Digest> set_aside() const { return {}; }
};

/// Stores bytes already in memory and returns their digest.
Digest put_blob(BlobStore& store, std::string_view bytes);
/// A whole small blob, verified. Throws Error when it is missing or longer than `limit`.
std::string load_blob(const BlobStore& store, const Digest& digest, std::uint64_t limit);

}  // namespace imgbuild::oci
