#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace imgbuild {

/// Owns one file descriptor. Move-only; closes in the destructor, which never throws.
class UniqueFd {
 public:
  UniqueFd() noexcept = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  int release() noexcept { return std::exchange(fd_, -1); }
  void reset(int fd = -1) noexcept;

  /// A second descriptor of the same open file. Throws SystemError.
  UniqueFd duplicate() const;

 private:
  int fd_ = -1;
};

/// `openat` with O_CLOEXEC and O_NOFOLLOW always added. `dir` may be AT_FDCWD. Throws SystemError.
UniqueFd open_at(int dir, const std::string& name, int flags, unsigned mode = 0);
/// The same, but gives an empty UniqueFd for ENOENT.
UniqueFd open_at_if_exists(int dir, const std::string& name, int flags);
/// Opens a path of the user's, following links. Throws SystemError.
UniqueFd open_path(const std::string& path, int flags, unsigned mode = 0);

/// `mkdirat`, content if a directory of that name is there; throws SystemError.
void ensure_dir_at(int dir, const std::string& name, unsigned mode);

/// Reads a whole regular file. Throws SystemError, or Error when it is longer than `limit` bytes or not a
/// regular file (a FIFO or device is never waited for).
std::string read_file(int fd, std::uint64_t limit, std::string_view name_for_errors);
std::string read_file_at(int dir, const std::string& name, std::uint64_t limit);

/// Writes all of `bytes`, retrying short writes and EINTR. Throws SystemError.
void write_all(int fd, std::string_view bytes, std::string_view name_for_errors = "file");

}  // namespace imgbuild
