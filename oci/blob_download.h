#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/hash.h"
#include "oci/blob_store.h"
#include "oci/descriptor.h"
#include "oci/http.h"

namespace imgbuild::oci {

/// A blob on its way into a store over one or more transfers: takes the bytes in order, refuses the byte
/// after the last one, and publishes only what has the right digest (NET-5). Not thread-safe.
class BlobDownload final : private Sink {
 public:
  /// `what` names the blob in messages. Everything is borrowed but copied names.
  BlobDownload(std::string what, const Descriptor& blob, BlobStore& store,
               std::function<void(std::uint64_t)> progress);

  /// Where the next transfer has to start; nothing for the beginning.
  std::optional<std::uint64_t> begin_attempt();
  /// Judges the headers of an answer; where its body goes, nullptr when it is no content of this blob.
  Sink* accept(const HttpResponse& response);
  /// Throws TransferError when bytes are missing although the transfer ended well.
  void end_attempt() const;

  bool complete() const noexcept { return started_ && received_ == blob_.size; }
  std::uint64_t received() const noexcept { return received_; }
  /// Throws IntegrityError unless the bytes have the digest.
  void commit();

 private:
  void write(std::string_view bytes) override;
  void restart();
  void accept_range(const HttpResponse& response);

  const std::string what_;
  const Descriptor blob_;
  BlobStore& store_;
  const std::function<void(std::uint64_t)> progress_;
  std::unique_ptr<BlobWriter> writer_;
  Sha256 hash_;
  std::uint64_t received_ = 0;
  std::uint64_t skip_ = 0;  ///< bytes of this transfer that we have already
  bool started_ = false;
  bool may_resume_ = true;
};

}  // namespace imgbuild::oci
