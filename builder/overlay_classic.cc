#include "builder/overlay_classic.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <thread>

#include "base/error.h"
#include "base/mount.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

constexpr std::size_t kMaxOptions = 4095;

/// The same directory in the mount namespace of this thread. The kernel puts together only what is mounted in
/// the caller's namespace (since 5.14), and a descriptor keeps the mount it was opened through.
UniqueFd reopen(int fd) {
  char name[4096];
  const ssize_t size = ::readlink(cat("/proc/self/fd/", fd).c_str(), name, sizeof name);
  if (size < 0) throw SystemError(errno, "read the name of", "an overlay directory");
  const std::string path(name, static_cast<std::size_t>(size));
  UniqueFd again = open_path(path, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  struct stat before {
  }, after{};
  if (::fstat(fd, &before) != 0 || ::fstat(again.get(), &after) != 0) throw SystemError(errno, "stat", path);
  if (before.st_dev != after.st_dev || before.st_ino != after.st_ino)
    throw Error(cat(printable(path), " is not the directory it was: it cannot be part of an overlay"),
                ExitCode::system);
  return again;
}

UniqueFd mount_here(const OverlayDirs& dirs, const std::string& settings) {
  // Both are this thread's own from here on; they go with it, and the mount with them.
  if (::unshare(CLONE_FS | CLONE_NEWNS) != 0) throw SystemError(errno, "create a mount namespace");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    throw SystemError(errno, "make mounts private below", "/");
  std::vector<UniqueFd> open;
  const auto take = [&](int fd) {
    open.push_back(reopen(fd));
    return open.back().get();
  };
  OverlayDirs here;
  for (const int dir : dirs.lower) here.lower.push_back(take(dir));
  if (dirs.upper >= 0) {
    here.upper = take(dirs.upper);
    here.work = take(dirs.work);
  }
  const std::string options = classic_overlay_options(here, settings);
  // Relative to here a directory is just a number: short, and nothing in it to escape.
  if (::chdir("/proc/self/fd") != 0) throw SystemError(errno, "enter", "/proc/self/fd");
  if (::mount("overlay", "/proc", "overlay", 0, options.c_str()) != 0)
    throw SystemError(errno, "mount a file system of type", "overlay");
  return clone_mount(AT_FDCWD, "/proc");
}

}  // namespace

std::string classic_overlay_options(const OverlayDirs& dirs, const std::string& settings) {
  std::string options = "lowerdir=";
  for (std::size_t i = 0; i < dirs.lower.size(); ++i) options += cat(i == 0 ? "" : ":", dirs.lower[i]);
  if (dirs.upper >= 0) options += cat(",upperdir=", dirs.upper, ",workdir=", dirs.work);
  if (!settings.empty()) options += cat(",", settings);
  if (options.size() > kMaxOptions) {
    throw UnsupportedError(cat("an image of ", dirs.lower.size(),
                               " layers cannot be mounted on this kernel: naming them takes ", options.size(),
                               " bytes and it reads ", kMaxOptions));
  }
  return options;
}

UniqueFd mount_overlay_classic(const OverlayDirs& dirs, const std::string& settings) {
  UniqueFd made;
  std::exception_ptr failure;
  std::thread([&] {
    try {
      made = mount_here(dirs, settings);
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
  return made;
}

}  // namespace imgbuild::builder
