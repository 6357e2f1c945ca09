#include "builder/apparmor.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/strings.h"
#include "base/unique_fd.h"

namespace imgbuild::builder {

namespace {

constexpr std::size_t kMostProfiles = 4u << 20;

/// Files of the kernel have no size. Empty when there is none or it may not be read.
std::string read_text(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char buffer[16384];
  ssize_t size = 0;
  while (file && text.size() < kMostProfiles && (size = ::read(file.get(), buffer, sizeof buffer)) > 0)
    text.append(buffer, static_cast<std::size_t>(size));
  return text;
}

/// "name (mode)" in a line of its own; an unconfined one restricts nothing.
bool has_profile(std::string_view profiles, std::string_view name) {
  for (const auto line : split(profiles, '\n')) {
    const auto mode = line.rfind(" (");
    if (mode != std::string_view::npos && line.substr(0, mode) == name)
      return line.substr(mode) != " (unconfined)";
  }
  return false;
}

}  // namespace

AppArmorChoice choose_apparmor(const AppArmorFacts& facts) {
  if (trim(facts.enabled) != "Y") return {"", "AppArmor is not enabled"};
  if (!facts.is_root)
    return {"", "only root outside of user namespaces puts commands under an AppArmor profile"};
  if (!has_profile(facts.profiles, kAppArmorProfile))
    return {"", cat("the AppArmor profile ", kAppArmorProfile, " is not loaded")};
  return {facts.has_own_dir ? "attr/apparmor/exec" : "attr/exec", ""};
}

AppArmorFacts read_apparmor_facts(const std::string& root, bool is_root) {
  AppArmorFacts facts;
  facts.enabled = read_text(root + "/sys/module/apparmor/parameters/enabled");
  facts.is_root = is_root;
  if (trim(facts.enabled) != "Y" || !is_root) return facts;
  facts.profiles = read_text(root + "/sys/kernel/security/apparmor/profiles");
  facts.has_own_dir = ::access((root + "/proc/self/attr/apparmor/exec").c_str(), F_OK) == 0;
  return facts;
}

}  // namespace imgbuild::builder
