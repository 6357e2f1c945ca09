#include "builder/overlay_mount.h"

#include <atomic>
#include <cerrno>
#include <exception>

#include "base/error.h"
#include "base/mount.h"
#include "base/strings.h"
#include "builder/overlay_classic.h"

namespace imgbuild::builder {

namespace {

constexpr std::size_t kMaxParameter = 255;  // of one value given to fsconfig

struct Setting {
  const char* key;
  const char* value;  ///< nullptr: a flag
};

/// What a layer's content depends on: without these there is no overlay.
std::vector<Setting> required_settings(oci::OverlayFlavour flavour, bool follow) {
  std::vector<Setting> out = {{"index", "off"},
                              {"metacopy", follow ? "on" : "off"},
                              {"redirect_dir", follow ? "follow" : "nofollow"}};
  if (flavour == oci::OverlayFlavour::user) out.push_back({"userxattr", nullptr});
  return out;
}

/// What may be missing, the newest first: a kernel that does not know one of them knows none of those before
/// it.
std::vector<Setting> optional_settings(bool writable) {
  std::vector<Setting> out = {{"uuid", "null"}};       // 6.6
  if (writable) out.push_back({"volatile", nullptr});  // 5.10
  out.push_back({"xino", "off"});
  out.push_back({"nfs_export", "off"});
  return out;
}

/// One attempt, completely described.
struct Attempt {
  const OverlayDirs& dirs;
  std::vector<Setting> required, optional;
};

std::string by_name(int fd) { return cat("/proc/self/fd/", fd); }

/// False when the kernel cannot be told in this way.
bool set_dirs(FsContext& overlay, const OverlayDirs& dirs, LayerNaming naming) {
  if (naming == LayerNaming::joined) {
    std::string names;
    for (const int dir : dirs.lower) names += cat(names.empty() ? "" : ":", by_name(dir));
    if (names.size() > kMaxParameter) return false;
    overlay.set_string("lowerdir", names);
  } else {
    for (const int dir : dirs.lower) {
      const bool taken = naming == LayerNaming::descriptors
                             ? overlay.try_set_fd("lowerdir+", dir)
                             : overlay.try_set_string("lowerdir+", by_name(dir));
      if (!taken) return false;
    }
  }
  if (dirs.upper < 0) return true;
  if (naming == LayerNaming::descriptors)
    return overlay.try_set_fd("upperdir", dirs.upper) && overlay.try_set_fd("workdir", dirs.work);
  overlay.set_string("upperdir", by_name(dirs.upper));
  overlay.set_string("workdir", by_name(dirs.work));
  return true;
}

/// No descriptor when the kernel cannot be told in this way. Before 6.5 it takes every option without looking
/// and refuses them all together at the end.
UniqueFd try_piecewise(const Attempt& attempt, LayerNaming naming) {
  FsContext overlay("overlay");
  if (!set_dirs(overlay, attempt.dirs, naming)) return UniqueFd();
  for (const auto& [key, value] : attempt.required)
    value == nullptr ? overlay.set_flag(key) : overlay.set_string(key, value);
  for (const auto& [key, value] : attempt.optional)
    value == nullptr ? overlay.try_set_flag(key) : overlay.try_set_string(key, value);
  return overlay.mount();
}

UniqueFd try_classic(const Attempt& attempt) {
  std::string settings;
  for (const auto* list : {&attempt.required, &attempt.optional})
    for (const auto& [key, value] : *list)
      settings +=
          cat(settings.empty() ? "" : ",", key, value == nullptr ? "" : "=", value == nullptr ? "" : value);
  return mount_overlay_classic(attempt.dirs, settings);
}

/// Where to begin: a fact about the kernel, learnt by the first mount.
struct Start {
  std::uint8_t naming = 0, left_out = 0;
};
std::atomic<Start> g_start{};

[[noreturn]] void cannot_name(const OverlayDirs& dirs) {
  throw UnsupportedError(
      cat("an image of ", dirs.lower.size(), " layers cannot be mounted in this way on this kernel"));
}

/// EINVAL says anything from a bad option to a file system that cannot be used. The kernel's own words are
/// worth most.
void keep(std::exception_ptr& kept, bool& explained, const SystemError& error) {
  if (explained) return;
  explained = !error.notes().empty();
  kept = std::current_exception();
}

}  // namespace

UniqueFd mount_overlay(const OverlayDirs& dirs, oci::OverlayFlavour flavour,
                       const OverlayMountOptions& options) {
  if (dirs.lower.size() > kMaxLowerDirs)
    throw UnsupportedError(cat("an image of ", dirs.lower.size(),
                               " layers cannot be mounted: the kernel takes ", kMaxLowerDirs));
  Attempt attempt{dirs, required_settings(flavour, options.follow), {}};
  const auto wishes = optional_settings(dirs.upper >= 0);
  const Start start = options.naming ? Start{static_cast<std::uint8_t>(*options.naming), 0} : g_start.load();
  const auto last = options.naming ? *options.naming : LayerNaming::classic;
  std::exception_ptr kept;
  bool explained = false;
  for (std::uint8_t naming = start.naming; naming <= static_cast<std::uint8_t>(last); ++naming) {
    const auto way = static_cast<LayerNaming>(naming);
    for (std::size_t left_out = naming == start.naming ? start.left_out : 0; left_out <= wishes.size();
         ++left_out) {
      attempt.optional.assign(wishes.begin() + static_cast<std::ptrdiff_t>(left_out), wishes.end());
      try {
        UniqueFd made = way == LayerNaming::classic ? try_classic(attempt) : try_piecewise(attempt, way);
        if (!made) break;
        if (!options.naming && way != LayerNaming::descriptors)
          g_start = Start{naming, static_cast<std::uint8_t>(left_out)};
        return made;
      } catch (const SystemError& error) {
        if (error.error_number() != EINVAL) throw;
        keep(kept, explained, error);
      }
    }
  }
  if (kept) std::rethrow_exception(kept);
  cannot_name(dirs);
}

}  // namespace imgbuild::builder
