#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

namespace imgbuild {

/// Whether nobody else holds what `held` points to, so that its memory may be written again: what others did
/// with it happened before.
template <typename T>
bool is_unshared(const std::shared_ptr<T>& held) noexcept {
  if (held.use_count() != 1) return false;
  std::atomic_thread_fence(std::memory_order_acquire);
  return true;
}

/// Buffers of one size that are lent out and used again when nobody holds them any more. As many as are held
/// at once are made. For one thread; the buffers may be held by others.
class SharedBuffers {
 public:
  explicit SharedBuffers(std::size_t size) : size_(size) {}

  std::size_t size() const noexcept { return size_; }

  std::shared_ptr<char[]> take() {
    for (auto& buffer : lent_) {
      if (is_unshared(buffer)) return buffer;
    }
    lent_.push_back(std::make_shared_for_overwrite<char[]>(size_));
    return lent_.back();
  }

 private:
  const std::size_t size_;
  std::vector<std::shared_ptr<char[]>> lent_;
};

}  // namespace imgbuild
