#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>

namespace imgbuild {

/// Puts written bytes on the disk for certain and counts what that cost (STO-7). Code that takes a `Syncer*`
/// syncs what it publishes when it is given one. Thread-safe. Every failure is final: the kernel may already
/// have dropped the pages, so a second try that succeeds would prove nothing (FLT-9).
class Syncer {
 public:
  struct Totals {
    std::uint64_t calls = 0;
    std::chrono::nanoseconds took{0};
  };

  /// A file's bytes and size. Throws SystemError.
  void data(int file, std::string_view name);
  /// The names in a directory.
  void directory(int dir, std::string_view name);
  /// Everything on the file system of `fd`: for trees of many files.
  void file_system(int fd, std::string_view name);

  Totals totals() const noexcept;

 private:
  void count(std::chrono::steady_clock::time_point begin) noexcept;
  std::atomic<std::uint64_t> calls_{0};
  std::atomic<std::int64_t> nanoseconds_{0};
};

}  // namespace imgbuild
