#include "builder/fuse_program.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/kernel_file.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

constexpr const char* kName = "fuse-overlayfs";
constexpr const char* kDevice = "/dev/fuse";
constexpr unsigned kMajor = 10, kMinor = 229;

uid_t overflow_uid() {
  constexpr uid_t kUsual = 65534;
  try {
    const std::string text = read_kernel_file("/proc/sys/kernel/overflowuid");
    return static_cast<uid_t>(parse_decimal(trim(text)).value_or(kUsual));
  } catch (const Error&) {
    return kUsual;
  }
}

}  // namespace

std::string distrust_of(const struct stat& info, uid_t self, bool foreign_ids, uid_t overflow) {
  if (!S_ISREG(info.st_mode)) return "is no regular file";
  if ((info.st_mode & 0111) == 0) return "is not executable";
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) return "may be changed by others than its owner";
  if (info.st_uid == 0 || info.st_uid == self || (foreign_ids && info.st_uid == overflow)) return {};
  return "belongs neither to root nor to who runs imgbuild";
}

FuseProgram find_fuse_program(bool foreign_ids, const std::vector<std::string>& directories) {
  FuseProgram out{.path = {}, .file = {}, .problem = cat("the program ", kName, " is not installed")};
  for (const auto& directory : directories) {
    const std::string path = cat(directory, "/", kName);
    UniqueFd file(::open(path.c_str(), O_PATH | O_CLOEXEC));
    struct stat info {};
    if (!file || ::fstat(file.get(), &info) != 0) continue;
    const std::string why = distrust_of(info, ::geteuid(), foreign_ids, overflow_uid());
    out = {.path = path, .file = std::move(file), .problem = why.empty() ? why : cat(path, " ", why)};
    break;
  }
  if (!out.usable()) return out;
  try {
    open_fuse_device();
  } catch (const Error& error) {
    out.problem = error.message();
  }
  return out;
}

UniqueFd open_fuse_device() {
  UniqueFd device(::open(kDevice, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!device) throw SystemError(errno, "open", kDevice);
  struct stat info {};
  if (::fstat(device.get(), &info) != 0) throw SystemError(errno, "stat", kDevice);
  if (!S_ISCHR(info.st_mode) || info.st_rdev != makedev(kMajor, kMinor))
    throw Error(cat(kDevice, " is not the device of FUSE"), ExitCode::unsupported);
  // Whoever serves it waits for requests.
  if (::fcntl(device.get(), F_SETFL, O_RDWR) != 0) throw SystemError(errno, "open", kDevice);
  return device;
}

}  // namespace imgbuild::builder
