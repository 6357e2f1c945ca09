#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/packed_pieces.h"
#include "base/shared_task.h"
#include "base/stream.h"
#include "base/thread_pool.h"

namespace imgbuild {

class GzipBlock;

/// Compresses to gzip in independent members on a pool; see make_compressor().
///
/// Where members end depends on the bytes and boundaries near that place, so that a change somewhere moves
/// few of them: a member ends with the last boundary before it would exceed its most, or earlier with one
/// that the bytes before it elect. Only something larger than a member by itself is cut anywhere.
class GzipSink final : public Sink {
 public:
  /// `level` 0…9 or nothing; `out` and what `pieces` and `report` point to (both may be null) must outlive
  /// the sink.
  GzipSink(std::optional<int> level, Sink& out, ThreadPool* pool, const PackedPieces* pieces = nullptr,
           PackedReport* report = nullptr);
  ~GzipSink() override;

  void write(std::string_view bytes) override;
  void boundary() override;
  void finish() override;

 private:
  struct Job {
    std::shared_ptr<GzipBlock> block;
    std::shared_ptr<SharedTask> task;
  };

  std::shared_ptr<GzipBlock> take_block();
  void end_full_block();
  bool elects_end() const;
  void start_block();
  void write_oldest();
  void note(const GzipBlock& block);

  const std::optional<int> level_;
  Sink& out_;
  ThreadPool* const pool_;
  const PackedPieces* const pieces_;
  PackedReport* const report_;
  const std::size_t max_jobs_;
  std::shared_ptr<GzipBlock> current_;
  std::size_t last_boundary_ = 0;  ///< in the current block; 0: none
  std::deque<Job> jobs_;           ///< in the order of the stream
  std::vector<std::shared_ptr<GzipBlock>> spare_;
  bool any_started_ = false;
  std::uint64_t written_ = 0;
};

}  // namespace imgbuild
