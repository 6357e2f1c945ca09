#pragma once

#include <string>
#include <string_view>

namespace imgbuild::builder {

/// The profile RUN is put under where an administrator loaded it (share/apparmor/imgbuild-default).
constexpr std::string_view kAppArmorProfile = "imgbuild-default";

/// What a machine says about AppArmor.
struct AppArmorFacts {
  std::string enabled;       ///< content of the module's parameter; empty: there is none
  std::string profiles;      ///< the loaded ones as securityfs lists them; empty when it cannot be read
  bool is_root = false;      ///< outside of user namespaces
  bool has_own_dir = false;  ///< the attributes of a process lie in attr/apparmor
};

/// How a command is put under its profile (SBX-98).
struct AppArmorChoice {
  std::string attribute;  ///< file below /proc/PID to write `exec PROFILE` into; empty: no profile
  std::string reason;     ///< why none, for people
};

/// Reads nothing and changes nothing.
AppArmorChoice choose_apparmor(const AppArmorFacts& facts);
/// The facts of the machine below `root`, "" for this one. Quick where there is no AppArmor.
AppArmorFacts read_apparmor_facts(const std::string& root, bool is_root);

}  // namespace imgbuild::builder
