#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include "base/pidfd.h"
#include "base/unique_fd.h"
#include "builder/fuse_program.h"
#include "builder/overlay_mount.h"

namespace imgbuild::builder {

/// An overlay served by a fuse-overlayfs of its own. The mount is made here and detached: it has no name
/// anywhere, and ends with its last descriptor or namespace. The program gets its connection and the
/// directories as descriptors, nothing else of ours, keeps only the rights it needs, and is killed with the
/// thread that made this, and in the destructor: what is mounted then gives ENOTCONN and no data.
class FuseOverlay {
 public:
  /// `dirs` are borrowed until the first answer, which is waited for. Throws SystemError, or Error with the
  /// program's own words when it does not come up.
  FuseOverlay(const FuseProgram& program, const OverlayDirs& dirs);
  ~FuseOverlay();
  FuseOverlay(const FuseOverlay&) = delete;
  FuseOverlay& operator=(const FuseOverlay&) = delete;

  /// The detached mount; once.
  UniqueFd take_mount() noexcept { return std::move(mount_); }
  /// Throws Error when the program has ended, or does so within `patience`: from some moment on nothing was
  /// written.
  void require_running(std::chrono::milliseconds patience = {});
  /// After the last user of the mount is gone and take_mount()'s descriptor closed: everything was written
  /// when this returns. Throws Error when the program did not end by itself and well.
  void finish();

 private:
  void start(const OverlayDirs& dirs, const UniqueFd& device);
  bool wait(std::chrono::milliseconds patience);
  [[noreturn]] void fail();

  const FuseProgram& program_;
  UniqueFd mount_;
  UniqueFd errors_;  ///< what the program says
  pid_t pid_ = -1;
  Pidfd process_;
  int status_ = 0;  ///< of wait(); valid when pid_ is -1
};

}  // namespace imgbuild::builder
