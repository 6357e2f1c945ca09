#pragma once

#include "base/unique_fd.h"

namespace imgbuild {

/// A process by descriptor: a signal never hits another process that got the same number. Move-only.
class Pidfd {
 public:
  Pidfd() noexcept = default;
  explicit Pidfd(UniqueFd fd) noexcept : fd_(std::move(fd)) {}

  explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
  int get() const noexcept { return fd_.get(); }
  /// Sends a signal; content if the process is gone. False when the kernel refuses.
  bool kill(int signal) const noexcept;
  /// Sends it to every process of the group this one leads. False when the kernel refuses, as before 6.9, or
  /// when there is no such group.
  bool kill_group(int signal) const noexcept;

 private:
  UniqueFd fd_;
};

}  // namespace imgbuild
