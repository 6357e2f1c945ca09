#include "base/overlapped_hash_sink.h"

#include <algorithm>
#include <utility>

namespace imgbuild {

namespace {
constexpr std::size_t kBufferSize = 256 * 1024;
}

OverlappedHashSink::OverlappedHashSink(Sink& next, ThreadPool* pool)
    : next_(next), pool_(pool), state_(std::make_shared<State>()) {
  filling_.reserve(kBufferSize);
}

OverlappedHashSink::~OverlappedHashSink() = default;  // a running task owns its state

void OverlappedHashSink::write(std::string_view bytes) {
  next_.write(bytes);
  size_ += bytes.size();
  if (pool_ == nullptr) {
    state_->hash.update(bytes);
    return;
  }
  while (!bytes.empty()) {
    const std::size_t count = std::min(bytes.size(), kBufferSize - filling_.size());
    filling_.insert(filling_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
    bytes.remove_prefix(count);
    if (filling_.size() == kBufferSize) hand_over();
  }
}

void OverlappedHashSink::hand_over() {
  wait();
  std::swap(state_->bytes, filling_);
  filling_.clear();
  filling_.reserve(kBufferSize);
  running_ = SharedTask::start(pool_, [state = state_] {
    state->hash.update({state->bytes.data(), state->bytes.size()});
  });
}

void OverlappedHashSink::wait() {
  if (const auto task = std::exchange(running_, nullptr)) task->join();
}

Digest OverlappedHashSink::digest() {
  wait();
  state_->hash.update({filling_.data(), filling_.size()});
  filling_.clear();
  return state_->hash.finish();
}

}  // namespace imgbuild
