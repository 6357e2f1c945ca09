#include "base/stream.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild {

std::size_t StringSource::read(std::span<char> buffer) {
  const std::size_t count = std::min(buffer.size(), text_.size() - at_);
  std::memcpy(buffer.data(), text_.data() + at_, count);
  at_ += count;
  return count;
}

std::size_t FileSource::read(std::span<char> buffer) {
  for (;;) {
    const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) throw SystemError(errno, "read", name_);
  }
}

VerifySource::VerifySource(std::unique_ptr<Source> from, const Digest& digest, std::uint64_t size,
                           std::string name)
    : from_(std::move(from)), digest_(digest), size_(size), hash_(size), name_(std::move(name)) {}

std::size_t VerifySource::read(std::span<char> buffer) {
  const std::size_t got = checked_ ? 0 : from_->read(buffer);
  if (got > 0) {
    seen_ += got;
    if (seen_ > size_) {
      throw IntegrityError(
          cat(printable(name_), " is longer than the ", size_, " bytes its descriptor declares"));
    }
    hash_.update({buffer.data(), got});
    return got;
  }
  if (!checked_) {
    checked_ = true;
    if (seen_ != size_) {
      throw IntegrityError(cat(printable(name_), " ended after ", seen_, " of ", size_, " bytes"));
    }
    const Digest actual = hash_.finish();
    if (actual != digest_) {
      throw IntegrityError(cat(printable(name_), " does not match its digest: expected ", digest_.str(),
                               ", got ", actual.str()));
    }
  }
  return 0;
}

std::uint64_t copy(Source& from, Sink& to) {
  std::vector<char> buffer(kChunkSize);
  std::uint64_t total = 0;
  while (const std::size_t got = from.read(buffer)) {
    to.write({buffer.data(), got});
    total += got;
  }
  return total;
}

std::string read_all(Source& from, std::uint64_t limit, std::string_view name) {
  std::string text;
  std::vector<char> buffer(kChunkSize);
  while (const std::size_t got = from.read(buffer)) {
    text.append(buffer.data(), got);
    if (text.size() > limit) throw Error(cat(printable(name), " is larger than ", human_size(limit)));
  }
  return text;
}

}  // namespace imgbuild
