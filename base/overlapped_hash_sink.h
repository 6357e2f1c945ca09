#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/hash_chain.h"
#include "base/shared_buffers.h"
#include "base/stream.h"

namespace imgbuild {

/// A HashSink that hashes on a pool while the bytes go on: the stream is only as slow as the slower of both.
/// Copies what nobody shares with it (Sink::write_shared). Holds what a HashChain does and a buffer of 256
/// KiB. May be used from a task of the same pool; without a pool it hashes in place.
class OverlappedHashSink final : public Sink {
 public:
  /// `next` must outlive the sink. `expected`: as of Sha256.
  OverlappedHashSink(Sink& next, ThreadPool* pool, std::uint64_t expected = 0);

  void write(std::string_view bytes) override;
  void write_shared(std::string_view bytes, const std::shared_ptr<const void>& owner) override;
  void finish() override { next_.finish(); }
  void boundary() override { next_.boundary(); }

  /// Digest of all bytes written. Once, after the last write.
  Digest digest();
  std::uint64_t size() const noexcept { return size_; }

 private:
  void hand_over();

  Sink& next_;
  const bool copies_;
  HashChain chain_;
  SharedBuffers buffers_;
  std::shared_ptr<char[]> filling_;
  std::size_t filled_ = 0;
  std::uint64_t size_ = 0;
};

}  // namespace imgbuild
