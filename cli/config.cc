#include "cli/config.h"

#include <fcntl.h>

#include <cerrno>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "oci/json_reader.h"

namespace imgbuild::cli {

namespace {

constexpr std::uint64_t kMaxConfig = 1 << 20;

Error wrong(const std::string& path, const std::string& what) {
  return Error(cat(printable(path), ": ", what), ExitCode::usage);
}

std::uint64_t size_value(const oci::JsonValue& value, const std::string& key) {
  if (value.kind() == oci::JsonValue::Kind::integer && value.as_integer() >= 0)
    return static_cast<std::uint64_t>(value.as_integer());
  return parse_size(value.as_string(), cat("\"", key, "\""));
}

void set(Config& config, const std::string& key, const oci::JsonValue& value) {
  if (key == "store-limit") {
    config.store_limit_bytes = size_value(value, key);
  } else if (key == "min-free") {
    config.min_free_bytes = size_value(value, key);
  } else if (key == "durability") {
    config.durability = value.as_string();
    if (*config.durability != "fast" && *config.durability != "safe")
      throw Error(cat("\"durability\" is fast or safe, not \"", printable(*config.durability), "\""));
  } else {
    Error error(cat("unknown key \"", printable(key), "\""));
    if (const auto close = nearest(key, {"store-limit", "min-free", "durability"}))
      error.add_note(cat("did you mean ", *close, "?"));
    throw error;
  }
}

}  // namespace

std::string config_path(const Environment& environment, bool is_root) {
  if (const auto path = environment.find("IMGBUILD_CONFIG"); path && !path->empty()) return *path;
  if (is_root) return "/etc/imgbuild/config.json";
  if (const auto home = environment.find("XDG_CONFIG_HOME"); home && home->starts_with('/'))
    return cat(*home, "/imgbuild/config.json");
  if (const auto home = environment.find("HOME"); home && home->starts_with('/'))
    return cat(*home, "/.config/imgbuild/config.json");
  return {};
}

Config parse_config(const std::string& text, const std::string& path) {
  Config config;
  try {
    const auto json = oci::JsonValue::parse(text, "configuration");
    for (const auto& [key, value] : json.as_object()) set(config, key, value);
  } catch (const Error& error) {
    Error with_path = wrong(path, error.message());
    for (const auto& note : error.notes()) with_path.add_note(note);
    throw with_path;
  }
  return config;
}

Config load_config(const Environment& environment, bool is_root) {
  const std::string path = config_path(environment, is_root);
  if (path.empty()) return {};
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file) {
    const bool named = !environment.find("IMGBUILD_CONFIG").value_or("").empty();
    if (errno == ENOENT && !named) return {};
    throw SystemError(errno, "open the configuration", path);
  }
  return parse_config(read_file(file.get(), kMaxConfig, path), path);
}

}  // namespace imgbuild::cli
