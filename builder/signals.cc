#include "builder/signals.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/strings.h"

namespace imgbuild::builder {

namespace {

constexpr std::array<std::string_view, 37> kNames = {
    "ABRT",   "ALRM",  "BUS",  "CHLD", "CLD",   "CONT",  "FPE",   "HUP",  "ILL",  "INT",
    "IO",     "IOT",   "KILL", "PIPE", "POLL",  "PROF",  "PWR",   "QUIT", "SEGV", "STKFLT",
    "STOP",   "SYS",   "TERM", "TRAP", "TSTP",  "TTIN",  "TTOU",  "URG",  "USR1", "USR2",
    "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX", "UNUSED"};

/// Real-time signals are named by their distance from either end; 34 to 64 are free for programs.
bool is_real_time(std::string_view name) {
  const bool up = name.starts_with("RTMIN+");
  if (!up && !name.starts_with("RTMAX-")) return false;
  const auto distance = parse_decimal(name.substr(6));
  const std::uint64_t most = up ? 15 : 14;
  return distance && *distance >= 1 && *distance <= most;
}

}  // namespace

bool is_signal(std::string_view text) {
  if (const auto number = parse_decimal(text)) return *number >= 1;
  std::string name = to_upper(text);
  if (name.starts_with("SIG")) name.erase(0, 3);
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end() || is_real_time(name);
}

}  // namespace imgbuild::builder
