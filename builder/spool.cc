#include "builder/spool.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"

namespace imgbuild::builder {

namespace {

UniqueFd unnamed_file(int directory) {
  if (directory < 0) {
    UniqueFd memory(::memfd_create("imgbuild-spool", MFD_CLOEXEC));
    if (!memory) throw SystemError(errno, "create", "memory file");
    return memory;
  }
  UniqueFd file(::openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file) return file;
  // Not every file system can make files without a name.
  const std::string name = cat("spool-", random_name());
  file = open_at(directory, name, O_RDWR | O_CREAT | O_EXCL, 0600);
  ::unlinkat(directory, name.c_str(), 0);
  return file;
}

/// Reads a region of a file that others read, too.
class RegionSource final : public Source {
 public:
  RegionSource(std::shared_ptr<const UniqueFd> file, std::uint64_t offset, std::uint64_t size)
      : file_(std::move(file)), offset_(offset), left_(size) {}

  std::size_t read(std::span<char> buffer) override {
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), left_));
    if (want == 0) return 0;
    ssize_t got = -1;
    do {
      got = ::pread(file_->get(), buffer.data(), want, static_cast<off_t>(offset_));
    } while (got < 0 && errno == EINTR);
    if (got < 0) throw SystemError(errno, "read", "spooled bytes");
    if (got == 0) throw Error("spooled bytes are missing");
    offset_ += static_cast<std::uint64_t>(got);
    left_ -= static_cast<std::uint64_t>(got);
    return static_cast<std::size_t>(got);
  }

 private:
  std::shared_ptr<const UniqueFd> file_;
  std::uint64_t offset_;
  std::uint64_t left_;
};

}  // namespace

Spool::Spool(int directory, std::stop_token stop)
    : file_(std::make_shared<const UniqueFd>(unnamed_file(directory))), stop_(std::move(stop)) {}

std::uint64_t Spool::reserve(std::uint64_t size) {
  const std::uint64_t offset = size_;
  size_ += size;
  if (::ftruncate(file_->get(), static_cast<off_t>(size_)) != 0)
    throw SystemError(errno, "grow", "spool file");
  return offset;
}

void Spool::write(std::uint64_t offset, std::string_view bytes) {
  if (stop_.stop_requested()) throw Cancelled();
  while (!bytes.empty()) {
    const ssize_t done = ::pwrite(file_->get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) throw SystemError(errno, "write", "spool file");
    bytes.remove_prefix(static_cast<std::size_t>(done));
    offset += static_cast<std::uint64_t>(done);
  }
}

std::uint64_t Spool::add(Source& source, std::uint64_t size) {
  const std::uint64_t offset = reserve(size);
  std::vector<char> buffer(kChunkSize);
  std::uint64_t at = 0;
  while (const std::size_t got = source.read(buffer)) {
    if (got > size - at) throw IntegrityError("a file is longer than its layer's index says");
    write(offset + at, {buffer.data(), got});
    at += got;
  }
  if (at != size) throw IntegrityError("a file is shorter than its layer's index says");
  return offset;
}

oci::ContentOpener Spool::opener(std::uint64_t offset, std::uint64_t size) const {
  return [file = file_, offset, size] { return std::make_unique<RegionSource>(file, offset, size); };
}

}  // namespace imgbuild::builder
