#include "base/overlapped_hash_sink.h"

#include <algorithm>
#include <cstring>

namespace imgbuild {

namespace {
constexpr std::size_t kBufferSize = 256 * 1024;
}

OverlappedHashSink::OverlappedHashSink(Sink& next, ThreadPool* pool, std::uint64_t expected)
    : next_(next), copies_(pool != nullptr), chain_(pool, expected), buffers_(kBufferSize) {}

void OverlappedHashSink::write(std::string_view bytes) {
  next_.write(bytes);
  size_ += bytes.size();
  if (!copies_) {
    chain_.add(bytes, nullptr);
    return;
  }
  while (!bytes.empty()) {
    if (!filling_) filling_ = buffers_.take();
    const std::size_t count = std::min(bytes.size(), kBufferSize - filled_);
    std::memcpy(filling_.get() + filled_, bytes.data(), count);
    filled_ += count;
    bytes.remove_prefix(count);
    if (filled_ == kBufferSize) hand_over();
  }
}

void OverlappedHashSink::write_shared(std::string_view bytes, const std::shared_ptr<const void>& owner) {
  next_.write_shared(bytes, owner);
  size_ += bytes.size();
  hand_over();
  chain_.add(bytes, owner);
}

void OverlappedHashSink::hand_over() {
  if (filled_ > 0) chain_.add({filling_.get(), filled_}, filling_);
  filling_ = nullptr;
  filled_ = 0;
}

Digest OverlappedHashSink::digest() {
  hand_over();
  return chain_.digest();
}

}  // namespace imgbuild
