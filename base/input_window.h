#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "base/stream.h"

namespace imgbuild {

/// A piece of a stream to look at before it is consumed.
class InputWindow {
 public:
  /// `from` must outlive the window.
  InputWindow(Source& from, std::size_t capacity) : from_(&from), buffer_(capacity) {}
  InputWindow(std::unique_ptr<Source> from, std::size_t capacity) : InputWindow(*from, capacity) {
    owned_ = std::move(from);
  }

  /// Tries to have `count` bytes (at most the capacity) in view; fewer only at the end of the stream.
  std::string_view look(std::size_t count) {
    if (end_ - start_ < count && !ended_) fill(count);
    return {buffer_.data() + start_, end_ - start_};
  }
  void consume(std::size_t count) noexcept { start_ += count; }

 private:
  void fill(std::size_t count) {
    if (buffer_.size() - start_ < count) {
      std::memmove(buffer_.data(), buffer_.data() + start_, end_ - start_);
      end_ -= start_;
      start_ = 0;
    }
    while (end_ - start_ < count && !ended_) {
      const std::size_t got = from_->read({buffer_.data() + end_, buffer_.size() - end_});
      ended_ = got == 0;
      end_ += got;
    }
  }

  std::unique_ptr<Source> owned_;
  Source* from_;
  std::vector<char> buffer_;
  std::size_t start_ = 0;
  std::size_t end_ = 0;
  bool ended_ = false;
};

}  // namespace imgbuild
