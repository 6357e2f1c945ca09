#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace imgbuild {

/// Bytes that shall leave no trace: on pages of their own that are left out of core dumps and, as far as the
/// limit on locked memory allows, never swapped; zeroed before they are given back (SEC-1). Move-only.
class SecretBytes {
 public:
  SecretBytes() noexcept = default;
  /// A copy of `bytes`. Throws std::bad_alloc.
  explicit SecretBytes(std::string_view bytes);
  /// Takes the bytes over and wipes the string.
  static SecretBytes take(std::string& text);
  ~SecretBytes();
  SecretBytes(SecretBytes&& other) noexcept
      : pages_(std::exchange(other.pages_, nullptr)),
        mapped_(std::exchange(other.mapped_, 0)),
        size_(std::exchange(other.size_, 0)) {}
  SecretBytes& operator=(SecretBytes&& other) noexcept {
    std::swap(pages_, other.pages_);
    std::swap(mapped_, other.mapped_);
    std::swap(size_, other.size_);
    return *this;
  }
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;

  std::string_view view() const noexcept { return {pages_, size_}; }
  bool empty() const noexcept { return size_ == 0; }

 private:
  char* pages_ = nullptr;
  std::size_t mapped_ = 0;
  std::size_t size_ = 0;
};

/// Overwrites the whole capacity of a string in a way no compiler leaves out, and empties it.
void wipe(std::string& text) noexcept;

}  // namespace imgbuild
