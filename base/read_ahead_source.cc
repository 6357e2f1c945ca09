#include "base/read_ahead_source.h"

#include <algorithm>
#include <cstring>

namespace imgbuild {

namespace {
constexpr std::size_t kMaxReady = 8;
constexpr std::size_t kAheadSize = 2 * kChunkSize;
}  // namespace

ReadAheadSource::ReadAheadSource(std::unique_ptr<Source> from)
    : from_(std::move(from)), producer_([this] { produce(); }) {}

ReadAheadSource::~ReadAheadSource() {
  {
    const std::lock_guard guard(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
}

void ReadAheadSource::produce() {
  for (;;) {
    Chunk chunk;
    {
      std::unique_lock guard(mutex_);
      changed_.wait(guard, [this] { return stop_ || ready_.size() < kMaxReady; });
      if (stop_) return;
      if (!spare_.empty()) {
        chunk = std::move(spare_.back());
        spare_.pop_back();
      }
    }
    chunk.bytes.resize(kAheadSize);
    std::exception_ptr error;
    try {
      chunk.size = from_->read(chunk.bytes);
    } catch (...) {
      error = std::current_exception();
    }
    const bool last = error || chunk.size == 0;
    {
      const std::lock_guard guard(mutex_);
      if (last) {
        error_ = error;
        ended_ = true;
      } else {
        ready_.push_back(std::move(chunk));
      }
    }
    changed_.notify_all();
    if (last) return;
  }
}

bool ReadAheadSource::next_chunk() {
  std::unique_lock guard(mutex_);
  if (!current_.bytes.empty()) spare_.push_back(std::move(current_));
  current_ = {};
  at_ = 0;
  changed_.wait(guard, [this] { return ended_ || !ready_.empty(); });
  if (ready_.empty()) {
    if (error_) std::rethrow_exception(error_);
    return false;
  }
  current_ = std::move(ready_.front());
  ready_.pop_front();
  guard.unlock();
  changed_.notify_all();
  return true;
}

std::size_t ReadAheadSource::read(std::span<char> buffer) {
  if (buffer.empty()) return 0;
  if (at_ == current_.size && !next_chunk()) return 0;
  const std::size_t count = std::min(buffer.size(), current_.size - at_);
  std::memcpy(buffer.data(), current_.bytes.data() + at_, count);
  at_ += count;
  return count;
}

}  // namespace imgbuild
