#include "base/file_copy.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/error.h"
#include "base/stream.h"
#include "base/strings.h"

namespace imgbuild {

namespace {

constexpr std::uint64_t kKernelChunk = 64 << 20;  // small enough to notice a stop request

void check(const std::stop_token& stop) {
  if (stop.stop_requested()) throw Cancelled();
}

/// Returns how many bytes are left for the slow way: file systems, their pairs and old kernels differ in what
/// they can.
std::uint64_t copy_in_kernel(int from, int to, std::uint64_t size, const std::stop_token& stop) {
  while (size > 0) {
    check(stop);
    const auto wanted = static_cast<std::size_t>(std::min(size, kKernelChunk));
    const ssize_t done = ::copy_file_range(from, nullptr, to, nullptr, wanted, 0);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == EFBIG)) {
      throw SystemError(errno, "write", "a copy");
    }
    if (done <= 0) break;
    size -= static_cast<std::uint64_t>(done);
  }
  return size;
}

}  // namespace

void copy_file_bytes(int from, int to, std::uint64_t size, std::string_view name, std::stop_token stop) {
  std::uint64_t left = copy_in_kernel(from, to, size, stop);
  if (left == 0) return;
  std::vector<char> buffer(kChunkSize);
  while (left > 0) {
    check(stop);
    const ssize_t got =
        ::read(from, buffer.data(), static_cast<std::size_t>(std::min<std::uint64_t>(left, buffer.size())));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw SystemError(errno, "read", name);
    if (got == 0) throw IntegrityError(cat(printable(name), " ended ", left, " bytes early"));
    write_all(to, {buffer.data(), static_cast<std::size_t>(got)}, name);
    left -= static_cast<std::uint64_t>(got);
  }
}

bool try_reflink(int from, int to) noexcept { return ::ioctl(to, FICLONE, from) == 0; }

}  // namespace imgbuild
