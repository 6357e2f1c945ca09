#pragma once

#include <sys/types.h>

#include <mutex>
#include <span>

#include "base/unique_fd.h"

namespace imgbuild::builder {

/// The running launcher. It ends when this object does, and everything it started with it. Thread-safe.
class LauncherProcess {
 public:
  /// Starts it from a sealed file in memory with an empty environment. Throws SystemError.
  LauncherProcess();
  ~LauncherProcess();
  LauncherProcess(const LauncherProcess&) = delete;
  LauncherProcess& operator=(const LauncherProcess&) = delete;

  /// Hands over one launch (builder/sandbox_protocol.h). The descriptors are duplicated. Throws SystemError.
  void send(std::span<const int> fds);

 private:
  UniqueFd control_;
  pid_t pid_ = -1;
  std::mutex mutex_;
};

}  // namespace imgbuild::builder
