#include "base/gzip_sink.h"

#include <libdeflate.h>

#include <algorithm>
#include <utility>

#include "base/gzip_block.h"
#include "base/shared_buffers.h"

namespace imgbuild {

namespace {

// A boundary may end a block from here on. It does so with a chance that grows with what lies between it and
// the one before, so that blocks of small things and of large ones end about equally often.
constexpr std::size_t kMinBlockSize = 128 << 10;
constexpr std::size_t kMeanDistance = 384 << 10;
constexpr std::size_t kElectingBytes = 4096;

}  // namespace

GzipSink::GzipSink(std::optional<int> level, Sink& out, ThreadPool* pool, const PackedPieces* pieces,
                   PackedReport* report)
    : level_(level),
      out_(out),
      pool_(pool),
      pieces_(pieces),
      report_(report),
      max_jobs_(pool == nullptr ? 1 : pool->size() + 2) {}

/// Blocks that are being compressed look at `pieces_`, which is the caller's.
GzipSink::~GzipSink() {
  for (const Job& job : jobs_) job.block->abandon();
  for (const Job& job : jobs_) {
    try {
      job.task->join();
    } catch (...) {
      // The stream is given up for another reason.
    }
  }
}

std::shared_ptr<GzipBlock> GzipSink::take_block() {
  // Whoever reads the members may still hold some of them.
  const auto free = std::find_if(spare_.begin(), spare_.end(), is_unshared<GzipBlock>);
  if (free == spare_.end()) return std::make_shared<GzipBlock>(level_, pieces_);
  auto block = std::move(*free);
  spare_.erase(free);
  block->clear();
  return block;
}

void GzipSink::write(std::string_view bytes) {
  while (!bytes.empty()) {
    if (!current_) current_ = take_block();
    if (current_->room() == 0) end_full_block();
    const std::size_t count = std::min(bytes.size(), current_->room());
    current_->append(bytes.substr(0, count));
    bytes.remove_prefix(count);
  }
}

/// What began in this block and does not fit goes to the next one, so that its own blocks begin with it.
void GzipSink::end_full_block() {
  auto next = take_block();
  if (last_boundary_ > 0) {
    next->append(current_->input().substr(last_boundary_));
    current_->truncate(last_boundary_);
  }
  start_block();
  current_ = std::move(next);
}

bool GzipSink::elects_end() const {
  const std::string_view input = current_->input();
  if (input.size() < kMinBlockSize) return false;
  const std::uint64_t distance = input.size() - last_boundary_;
  const std::string_view last = input.substr(input.size() - kElectingBytes);
  const std::uint64_t lot = libdeflate_crc32(0, last.data(), last.size());
  return lot * kMeanDistance < (distance << 32);
}

void GzipSink::boundary() {
  if (!current_) return;
  if (elects_end())
    start_block();
  else
    last_boundary_ = current_->size();
}

void GzipSink::finish() {
  if (!any_started_ && current_ && current_->size() == kEmptyLayerSize &&
      current_->input().find_first_not_of('\0') == std::string_view::npos) {
    out_.write(kEmptyLayerBlob);
    out_.finish();
    return;
  }
  if (!any_started_ && !current_) current_ = take_block();  // an empty stream is one empty member
  if (current_) start_block();
  while (!jobs_.empty()) write_oldest();
  out_.finish();
}

void GzipSink::start_block() {
  while (jobs_.size() >= max_jobs_) write_oldest();
  any_started_ = true;
  last_boundary_ = 0;
  auto block = std::exchange(current_, nullptr);
  auto task = SharedTask::start(pool_, [block] { block->compress(); });
  jobs_.push_back({std::move(block), std::move(task)});
  if (pool_ == nullptr) write_oldest();
}

void GzipSink::write_oldest() {
  // Instead of waiting for a worker, take a share of what waits for one.
  for (auto next = jobs_.begin(); next != jobs_.end() && !jobs_.front().task->finished(); ++next)
    next->task->try_run();
  const Job job = std::move(jobs_.front());
  jobs_.pop_front();
  job.task->join();
  job.block->write_to(out_, job.block);
  note(*job.block);
  spare_.push_back(job.block);
}

void GzipSink::note(const GzipBlock& block) {
  const std::size_t size = block.member_size();
  if (report_ != nullptr) {
    if (block.plain_digest()) {
      report_->pieces.push_back({.plain = *block.plain_digest(),
                                 .offset = written_,
                                 .size = static_cast<std::uint32_t>(size),
                                 .packed_crc = block.member_crc()});
    }
    if (block.reused())
      report_->reused_bytes += size;
    else
      report_->packed_bytes += block.size();
  }
  written_ += size;
}

}  // namespace imgbuild
