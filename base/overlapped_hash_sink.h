#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/shared_task.h"
#include "base/stream.h"

namespace imgbuild {

/// A HashSink that hashes on a pool while the bytes go on: the stream is only as slow as the slower of both.
/// Holds two buffers of 256 KiB at most. May be used from a task of the same pool; without a pool it hashes
/// in place.
class OverlappedHashSink final : public Sink {
 public:
  /// `next` must outlive the sink.
  OverlappedHashSink(Sink& next, ThreadPool* pool);
  ~OverlappedHashSink() override;

  void write(std::string_view bytes) override;
  void finish() override { next_.finish(); }
  void boundary() override { next_.boundary(); }

  /// Digest of all bytes written. Once, after the last write.
  Digest digest();
  std::uint64_t size() const noexcept { return size_; }

 private:
  struct State {
    Sha256 hash;
    std::vector<char> bytes;  ///< what the running task hashes
  };

  void hand_over();
  void wait();

  Sink& next_;
  ThreadPool* const pool_;
  std::shared_ptr<State> state_;
  std::shared_ptr<SharedTask> running_;
  std::vector<char> filling_;
  std::uint64_t size_ = 0;
};

}  // namespace imgbuild
