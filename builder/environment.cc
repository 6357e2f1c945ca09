#include "builder/environment.h"

#include <algorithm>
#include <array>

#include "base/strings.h"

namespace imgbuild::builder {

Environment Environment::from_entries(const std::vector<std::string>& entries) {
  Environment out;
  for (const auto& entry : entries) {
    const auto equals = entry.find('=');
    out.set(std::string_view(entry).substr(0, equals),
            equals == std::string::npos ? "" : entry.substr(equals + 1));
  }
  return out;
}

void Environment::set(std::string_view name, std::string value) {
  if (const auto place = places_.find(name); place != places_.end()) {
    variables_[place->second].second = std::move(value);
    return;
  }
  places_.emplace(name, variables_.size());
  variables_.emplace_back(name, std::move(value));
}

const std::string* Environment::find(std::string_view name) const {
  const auto place = places_.find(name);
  return place == places_.end() ? nullptr : &variables_[place->second].second;
}

std::vector<std::string> Environment::entries() const {
  std::vector<std::string> out;
  out.reserve(variables_.size());
  for (const auto& [name, value] : variables_) out.push_back(cat(name, "=", value));
  return out;
}

std::vector<std::string> Environment::names() const {
  std::vector<std::string> out;
  for (const auto& [name, value] : variables_) out.push_back(name);
  return out;
}

parser::VariableLookup Environment::lookup() const {
  return [this](std::string_view name) -> std::optional<std::string_view> {
    const std::string* value = find(name);
    return value ? std::optional<std::string_view>(*value) : std::nullopt;
  };
}

BuildArgs collect_build_args(const std::vector<std::pair<std::string, std::string>>& given) {
  BuildArgs out;
  for (const auto& [key, value] : given) out[key] = value;
  return out;
}

namespace {

void set_platform(Environment& env, const std::string& prefix, const oci::Platform& platform) {
  const std::string variant = platform.variant.empty() ? "" : cat("/", platform.variant);
  env.set(prefix + "PLATFORM", cat(platform.os, "/", platform.architecture, variant));
  env.set(prefix + "OS", platform.os);
  env.set(prefix + "OSVERSION", platform.os_version);
  env.set(prefix + "ARCH", platform.architecture);
  env.set(prefix + "VARIANT", platform.variant);
}

}  // namespace

Environment automatic_args(const oci::Platform& build, const oci::Platform& target,
                           const std::string& target_stage) {
  Environment env;
  set_platform(env, "BUILD", build);
  set_platform(env, "TARGET", target);
  env.set("TARGETSTAGE", target_stage);
  return env;
}

bool is_proxy_arg(std::string_view name) {
  constexpr std::array<std::string_view, 5> kNames = {"http_proxy", "https_proxy", "ftp_proxy", "no_proxy",
                                                      "all_proxy"};
  return std::any_of(kNames.begin(), kNames.end(),
                     [&](auto known) { return equal_ignoring_case(name, known); });
}

std::vector<std::string> proxy_variables(const BuildArgs& args) {
  std::map<std::string, std::string> values;  // the alphabetically last spelling wins
  for (const auto& [name, value] : args) {
    if (is_proxy_arg(name)) values[to_lower(name)] = value;
  }
  std::vector<std::string> out;
  for (const auto& [name, value] : values) {
    out.push_back(cat(name, "=", value));
    out.push_back(cat(to_upper(name), "=", value));
  }
  return out;
}

bool is_hidden_from_run(std::string_view name) {
  return name == "BUILDKIT_SBOM_SCAN_CONTEXT" || name == "BUILDKIT_SBOM_SCAN_STAGE";
}

}  // namespace imgbuild::builder
