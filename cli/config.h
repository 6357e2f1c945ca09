#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/options.h"

namespace imgbuild::cli {

/// What the configuration file says; options on the command line go first.
struct Config {
  std::optional<std::uint64_t> store_limit_bytes;
  std::optional<std::uint64_t> min_free_bytes;
  std::optional<std::string> durability;
};

/// Where it is: IMGBUILD_CONFIG, else /etc/imgbuild/config.json for root and
/// $XDG_CONFIG_HOME/imgbuild/config.json
/// (~/.config/imgbuild/config.json) for others. Empty: nowhere.
std::string config_path(const Environment& environment, bool is_root);

/// Nothing is set when there is no such file; one named by IMGBUILD_CONFIG must be there. Throws Error
/// (usage) naming file and key for anything it does not know.
Config load_config(const Environment& environment, bool is_root);
/// The text of a file; `path` is for errors.
Config parse_config(const std::string& text, const std::string& path);

}  // namespace imgbuild::cli
