#include "builder/fuse_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
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
constexpr std::size_t kVersionLimit = 4096;
constexpr int kVersionPatienceMs = 5000;

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

std::optional<FuseVersion> parse_fuse_version(std::string_view printed) {
  constexpr std::string_view kBefore = "fuse-overlayfs: version ";
  const auto at = printed.find(kBefore);
  if (at == std::string_view::npos) return std::nullopt;
  printed.remove_prefix(at + kBefore.size());
  const auto number = [&]() -> std::optional<int> {
    const auto end = std::min(printed.find_first_not_of("0123456789"), printed.size());
    const auto value = end > 6 ? std::nullopt : parse_decimal(printed.substr(0, end));
    printed.remove_prefix(end);
    return value ? std::optional(static_cast<int>(*value)) : std::nullopt;
  };
  const auto major = number();
  if (!major || !printed.starts_with('.')) return std::nullopt;
  printed.remove_prefix(1);
  const auto minor = number();
  if (!minor) return std::nullopt;
  return FuseVersion{*major, *minor};
}

std::optional<FuseVersion> fuse_version(const FuseProgram& program) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
  for (const int stream : {1, 2}) ::posix_spawn_file_actions_adddup2(&actions, write_end.get(), stream);
  std::string name = kName, option = "--version", locale = "LC_ALL=C";
  char* argv[] = {name.data(), option.data(), nullptr};
  char* env[] = {locale.data(), nullptr};
  pid_t pid = -1;
  // Opened when it was looked at: no other file can have taken its place.
  const std::string path = cat("/proc/self/fd/", program.file.get());
  const bool started = ::posix_spawn(&pid, path.c_str(), &actions, nullptr, argv, env) == 0;
  ::posix_spawn_file_actions_destroy(&actions);
  write_end.reset();
  if (!started) return std::nullopt;
  std::string said;
  char buffer[1024];
  pollfd ready{read_end.get(), POLLIN, 0};
  while (said.size() < kVersionLimit && ::poll(&ready, 1, kVersionPatienceMs) == 1) {
    const ssize_t got = ::read(read_end.get(), buffer, sizeof buffer);
    if (got <= 0) break;
    said.append(buffer, static_cast<std::size_t>(got));
  }
  ::kill(pid, SIGKILL);  // it has said what it had to say
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return parse_fuse_version(said);
}

std::string fuse_defect(const std::optional<FuseVersion>& version) {
  constexpr FuseVersion kMended{1, 16};
  if (version && *version >= kMended) return {};
  return cat("fuse-overlayfs ",
             version ? cat(version->major, ".", version->minor) : std::string("of an unknown version"),
             " can lose or repeat names when a command lists a large directory (mended in 1.16)");
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
