#include "oci/platform.h"

#include <sys/utsname.h>

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::oci {

namespace {

bool is_known_os(std::string_view word) {
  constexpr std::string_view kNames[] = {"aix",     "android", "darwin", "dragonfly", "freebsd",
                                         "illumos", "linux",   "macos",  "netbsd",    "openbsd",
                                         "plan9",   "solaris", "wasip1", "windows"};
  return std::find(std::begin(kNames), std::end(kNames), word) != std::end(kNames);
}

bool is_known_architecture(std::string_view word) {
  constexpr std::string_view kNames[] = {
      "386",     "i386", "amd64",  "x86_64", "x86-64",   "arm",   "armhf",   "armel",   "arm64", "aarch64",
      "loong64", "mips", "mipsle", "mips64", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x", "wasm"};
  return std::find(std::begin(kNames), std::end(kNames), word) != std::end(kNames);
}

bool is_word(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  });
}

void normalize_arm64(Platform& platform) {
  platform.architecture = "arm64";
  if (platform.variant == "8" || platform.variant == "v8" || platform.variant == "v8.0")
    platform.variant.clear();
  if (platform.variant == "9" || platform.variant == "9.0" || platform.variant == "v9.0")
    platform.variant = "v9";
}

void normalize_arm(Platform& platform) {
  if (platform.architecture == "armhf") platform.variant = "v7";
  if (platform.architecture == "armel") platform.variant = "v6";
  platform.architecture = "arm";
  if (platform.variant.empty() || platform.variant == "7") platform.variant = "v7";
  if (platform.variant == "5" || platform.variant == "6" || platform.variant == "8")
    platform.variant.insert(0, "v");
}

}  // namespace

Platform Platform::normalized(Platform raw) {
  raw.os = to_lower(raw.os);
  raw.architecture = to_lower(raw.architecture);
  raw.variant = to_lower(raw.variant);
  if (raw.os == "macos") raw.os = "darwin";
  const std::string& arch = raw.architecture;
  if (arch == "x86_64" || arch == "x86-64" || arch == "amd64") {
    raw.architecture = "amd64";
    if (raw.variant == "v1") raw.variant.clear();
  } else if (arch == "i386" || arch == "386") {
    raw.architecture = "386";
    raw.variant.clear();
  } else if (arch == "aarch64" || arch == "arm64") {
    normalize_arm64(raw);
  } else if (arch == "arm" || arch == "armhf" || arch == "armel") {
    normalize_arm(raw);
  }
  return raw;
}

Platform Platform::host() {
  utsname info{};
  ::uname(&info);
  std::string machine = info.machine;
  Platform raw;
  if (machine.starts_with("armv") && machine.size() > 4) {
    raw.architecture = "arm";
    raw.variant = cat("v", machine[4]);
  } else if (machine.size() == 4 && machine[0] == 'i' && machine.ends_with("86")) {
    raw.architecture = "386";
  } else {
    raw.architecture = machine == "loongarch64" ? "loong64" : machine;
  }
  return normalized(raw);
}

Platform Platform::parse(std::string_view text) {
  const auto fail = [&](std::string_view why) {
    Error error(cat("failed to parse platform \"", printable(text), "\": ", why), ExitCode::usage);
    error.add_note("write it as os/architecture, for example linux/arm64");
    throw error;
  };
  std::vector<std::string_view> parts = split(text, '/');
  Platform raw;
  raw.os.clear();
  raw.architecture.clear();
  std::string_view os = parts[0];
  if (const auto open = os.find('('); open != std::string_view::npos) {
    if (!os.ends_with(')')) fail("the parenthesis after the operating system is not closed");
    raw.os_version = os.substr(open + 1, os.size() - open - 2);
    os = os.substr(0, open);
  }
  if (parts.size() > 3) fail("it has more than three parts");
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (!is_word(i == 0 ? os : parts[i])) fail("a part is empty or has characters that do not belong there");
  }
  const Platform here = host();
  if (parts.size() == 1) {
    const std::string word = to_lower(os);
    if (is_known_os(word)) {
      raw.os = word;
      raw.architecture = here.architecture;
      raw.variant = here.variant;
    } else if (is_known_architecture(word)) {
      raw.os = here.os;
      raw.architecture = word;
    } else {
      fail("it is neither an operating system nor an architecture");
    }
  } else {
    raw.os = os;
    raw.architecture = parts[1];
    if (parts.size() == 3) raw.variant = parts[2];
  }
  return normalized(raw);
}

std::string Platform::str() const {
  std::string out = os;
  if (!os_version.empty()) out += cat("(", os_version, ")");
  out += cat("/", architecture);
  if (!variant.empty()) out += cat("/", variant);
  return out;
}

}  // namespace imgbuild::oci
