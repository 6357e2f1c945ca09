#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "base/shared_task.h"
#include "base/stream.h"
#include "base/thread_pool.h"

namespace imgbuild {

/// Compresses to gzip in independent members on a pool; see make_compressor().
class GzipSink final : public Sink {
 public:
  /// `level` 0…9; `out` must outlive the sink.
  GzipSink(int level, Sink& out, ThreadPool* pool);
  ~GzipSink() override;

  void write(std::string_view bytes) override;
  void boundary() override;
  void finish() override;

 private:
  struct Block;
  struct Job {
    std::shared_ptr<Block> block;
    std::shared_ptr<SharedTask> task;
  };

  std::shared_ptr<Block> take_block();
  void start_block();
  void write_oldest();

  const int level_;
  Sink& out_;
  ThreadPool* const pool_;
  const std::size_t max_jobs_;
  std::shared_ptr<Block> current_;
  std::deque<Job> jobs_;  ///< in the order of the stream
  std::vector<std::shared_ptr<Block>> spare_;
  bool any_started_ = false;
};

}  // namespace imgbuild
