#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/stream.h"

namespace imgbuild {

/// Reads another source on a thread of its own, a few chunks ahead of its reader, so that producing and using
/// the bytes overlap. Errors of the source reach the reader after the bytes before them.
class ReadAheadSource final : public Source {
 public:
  explicit ReadAheadSource(std::unique_ptr<Source> from);
  ~ReadAheadSource() override;
  std::size_t read(std::span<char> buffer) override;

 private:
  struct Chunk {
    std::vector<char> bytes;
    std::size_t size = 0;
  };

  void produce();
  bool next_chunk();

  std::unique_ptr<Source> from_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Chunk> ready_;  ///< guarded by mutex_, as all up to `stop_`
  std::vector<Chunk> spare_;
  std::exception_ptr error_;
  bool ended_ = false;
  bool stop_ = false;
  Chunk current_;  ///< the reader's
  std::size_t at_ = 0;
  std::jthread producer_;  ///< last: joined before the rest goes away
};

}  // namespace imgbuild
