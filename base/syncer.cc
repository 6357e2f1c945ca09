#include "base/syncer.h"

#include <unistd.h>

#include <cerrno>

#include "base/error.h"

namespace imgbuild {

namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

void Syncer::count(Clock::time_point begin) noexcept {
  ++calls_;
  nanoseconds_ += std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count();
}

void Syncer::data(int file, std::string_view name) {
  const auto begin = Clock::now();
  if (::fdatasync(file) != 0) throw SystemError(errno, "sync", name);
  count(begin);
}

void Syncer::directory(int dir, std::string_view name) {
  const auto begin = Clock::now();
  if (::fsync(dir) != 0) throw SystemError(errno, "sync", name);
  count(begin);
}

void Syncer::file_system(int fd, std::string_view name) {
  const auto begin = Clock::now();
  if (::syncfs(fd) != 0) throw SystemError(errno, "sync the file system of", name);
  count(begin);
}

Syncer::Totals Syncer::totals() const noexcept { return {calls_, std::chrono::nanoseconds(nanoseconds_)}; }

}  // namespace imgbuild
