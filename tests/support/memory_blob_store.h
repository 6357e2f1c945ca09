#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/hash.h"
#include "oci/blob_store.h"

namespace imgbuild::tests {

/// Blobs in memory. Checks on commit that the digest is right. Thread-safe.
class MemoryBlobStore final : public oci::BlobStore {
 public:
  std::optional<std::uint64_t> find_blob(const Digest& digest) const override {
    const std::lock_guard guard(mutex_);
    const auto found = blobs_.find(digest);
    return found == blobs_.end() ? std::nullopt : std::optional<std::uint64_t>(found->second.size());
  }
  std::unique_ptr<Source> open_blob(const Digest& digest) const override {
    const std::string bytes = blob(digest);
    return std::make_unique<VerifySource>(std::make_unique<StringSource>(bytes), digest, bytes.size(),
                                          "blob");
  }
  UniqueFd open_blob_file(const Digest&) const override { return {}; }
  std::unique_ptr<oci::BlobWriter> create() override { return std::make_unique<Writer>(*this); }

  std::string blob(const Digest& digest) const {
    const std::lock_guard guard(mutex_);
    const auto found = blobs_.find(digest);
    if (found == blobs_.end()) throw Error("no such blob: " + digest.str());
    return found->second;
  }
  std::size_t count() const {
    const std::lock_guard guard(mutex_);
    return blobs_.size();
  }
  /// Stores bytes under a digest they may not have, as a damaged disk would.
  void plant(const Digest& digest, std::string bytes) {
    const std::lock_guard guard(mutex_);
    blobs_[digest] = std::move(bytes);
  }

 private:
  class Writer final : public oci::BlobWriter {
   public:
    explicit Writer(MemoryBlobStore& store) : store_(store) {}
    void write(std::string_view bytes) override { bytes_ += bytes; }
    void commit(const Digest& digest) override {
      if (sha256(bytes_) != digest) throw Error("a blob was committed under a wrong digest");
      store_.plant(digest, std::move(bytes_));
    }

   private:
    MemoryBlobStore& store_;
    std::string bytes_;
  };

  mutable std::mutex mutex_;
  std::map<Digest, std::string> blobs_;
};

}  // namespace imgbuild::tests
