#include "builder/overlay_options.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <thread>

#include "base/error.h"
#include "base/kernel_file.h"
#include "base/strings.h"
#include "base/unique_fd.h"

namespace imgbuild::builder {

namespace {

/// A kernel without the parameter does not have the feature.
bool is_on(const char* parameter) {
  const UniqueFd file(
      ::open(cat("/sys/module/overlay/parameters/", parameter).c_str(), O_RDONLY | O_CLOEXEC));
  char value = 'N';
  return file && ::read(file.get(), &value, 1) == 1 && value == 'Y';
}

OverlayDefaults read_defaults() {
  return {is_on("index"), is_on("metacopy"), is_on("redirect_dir"), is_on("redirect_always_follow")};
}

std::optional<std::string_view> option(std::string_view shown, std::string_view key) {
  for (const auto part : split(shown, ',')) {
    if (part == key) return "";
    if (part.starts_with(key) && part.substr(key.size()).starts_with('=')) return part.substr(key.size() + 1);
  }
  return std::nullopt;
}

/// In a mount namespace of its own thread.
std::string shown_options(int overlay) {
  if (::unshare(CLONE_FS | CLONE_NEWNS) != 0) throw SystemError(errno, "create a mount namespace");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    throw SystemError(errno, "make mounts private below", "/");
  const std::string info = read_kernel_file(cat("/proc/self/fdinfo/", overlay));
  if (::move_mount(overlay, "", AT_FDCWD, "/sys", MOVE_MOUNT_F_EMPTY_PATH) != 0)
    throw SystemError(errno, "attach an overlay");
  const auto at = info.find("mnt_id:");
  const auto id =
      trim(std::string_view(info).substr(std::min(info.size(), at == std::string::npos ? at : at + 7)));
  const std::string prefix = cat(id.substr(0, id.find('\n')), " ");
  const std::string mounts = read_kernel_file("/proc/thread-self/mountinfo");
  for (const auto line : split(mounts, '\n')) {
    const auto type = line.find(" - overlay ");
    if (!line.starts_with(prefix) || type == std::string_view::npos) continue;
    return std::string(line.substr(line.rfind(' ') + 1));
  }
  throw Error("an overlay that was just mounted is not in the list of mounts", ExitCode::system);
}

}  // namespace

std::string wrong_overlay_option(std::string_view shown, const OverlayDefaults& defaults,
                                 oci::OverlayFlavour flavour) {
  const auto is_off = [&](std::string_view key, bool by_default) {
    const auto value = option(shown, key);
    return value ? *value == "off" : !by_default;
  };
  if (!is_off("index", defaults.index)) return "index is not off";
  if (!is_off("metacopy", defaults.metacopy)) return "metacopy is not off";
  const auto redirect = option(shown, "redirect_dir");
  const bool follows =
      redirect ? *redirect != "nofollow" : defaults.redirect_dir || defaults.redirect_always_follow;
  if (follows) return "redirect_dir is not nofollow";
  const bool user = option(shown, "userxattr").has_value();
  if (user != (flavour == oci::OverlayFlavour::user))
    return user ? "userxattr is set" : "userxattr is not set";
  return "";
}

std::string wrong_overlay_option(int overlay, oci::OverlayFlavour flavour) {
  std::string shown;
  std::exception_ptr failure;
  std::thread([&] {
    try {
      shown = shown_options(overlay);
    } catch (...) {  // rethrown below, on the thread that asked
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
  return wrong_overlay_option(shown, read_defaults(), flavour);
}

}  // namespace imgbuild::builder
