#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/hash.h"
#include "base/thread_pool.h"

namespace imgbuild {

/// SHA-256 of a stream on a pool, beside whoever makes the stream. Bytes are not copied: the chain holds
/// their owner until they are hashed. Holds 2 MiB at most (or one piece that is larger); add() waits for
/// room. May be used from a task of the same pool; without a pool it hashes in place. One caller at a time.
class HashChain {
 public:
  /// `expected`: as of Sha256.
  explicit HashChain(ThreadPool* pool, std::uint64_t expected = 0);
  ~HashChain();  ///< what is still waiting is not hashed any more
  HashChain(const HashChain&) = delete;
  HashChain& operator=(const HashChain&) = delete;

  /// The next bytes. Their memory must not change while `owner` is held.
  void add(std::string_view bytes, std::shared_ptr<const void> owner);
  /// Digest of all bytes added. Once, after the last add().
  Digest digest();

 private:
  struct State;
  ThreadPool* const pool_;
  std::shared_ptr<State> state_;  ///< shared with the task
};

}  // namespace imgbuild
