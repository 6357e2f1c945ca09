#include "builder/cdi_spec.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "oci/json_reader.h"

namespace imgbuild::builder {

namespace {

using oci::JsonValue;

std::optional<std::int64_t> integer(const JsonValue& object, const std::string& name) {
  const JsonValue* value = object.find(name);
  return value ? std::optional(value->as_integer()) : std::nullopt;
}

std::string absolute(const JsonValue& object, const std::string& name) {
  std::string path = object.string_or_empty(name);
  const bool usable = path.starts_with('/') && path.find('\0') == std::string::npos;
  if (!usable) throw IntegrityError(cat(name, " is no absolute path: \"", printable(path), "\""));
  return path;
}

CdiNode read_node(const JsonValue& value) {
  CdiNode node{.path = absolute(value, "path"), .host_path = {}, .type = value.string_or_empty("type")};
  node.host_path = value.find("hostPath") ? absolute(value, "hostPath") : node.path;
  node.major = integer(value, "major");
  node.minor = integer(value, "minor");
  node.mode = integer(value, "fileMode");
  node.uid = integer(value, "uid");
  node.gid = integer(value, "gid");
  node.permissions = value.string_or_empty("permissions");
  if (node.permissions.find_first_not_of("rwm") != std::string::npos)
    throw IntegrityError(cat("permissions are r, w and m, not \"", printable(node.permissions), "\""));
  return node;
}

CdiMount read_mount(const JsonValue& value) {
  return {.host_path = absolute(value, "hostPath"),
          .container_path = absolute(value, "containerPath"),
          .type = value.string_or_empty("type"),
          .options = value.strings("options")};
}

template <typename Read>
auto read_all_of(const JsonValue& edits, const std::string& name, Read read) {
  std::vector<decltype(read(edits))> out;
  if (const JsonValue* list = edits.find(name)) {
    for (const JsonValue& entry : list->as_array()) out.push_back(read(entry));
  }
  return out;
}

void read_edits(const JsonValue& owner, CdiEdits& edits) {
  const JsonValue* value = owner.find("containerEdits");
  if (value == nullptr) return;
  CdiEdits own;
  own.env = value->strings("env");
  for (const auto& entry : own.env) {
    if (const auto equals = entry.find('='); equals == std::string::npos || equals == 0)
      throw IntegrityError(cat("env \"", printable(entry), "\" is not NAME=VALUE"));
  }
  own.nodes = read_all_of(*value, "deviceNodes", read_node);
  own.mounts = read_all_of(*value, "mounts", read_mount);
  own.additional_gids = read_all_of(*value, "additionalGids", [](const JsonValue& gid) {
    return static_cast<std::uint32_t>(gid.as_integer());
  });
  for (const auto& [key, entry] : value->as_object()) {
    const bool known =
        key == "env" || key == "deviceNodes" || key == "mounts" || key == "additionalGids" || entry.is_null();
    const bool empty = entry.kind() == JsonValue::Kind::array && entry.as_array().empty();
    if (!known && !empty) own.refused.push_back(key);
  }
  edits.append(own);
}

bool is_name(std::string_view text, std::string_view more) {
  const auto fits = [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           more.find(c) != std::string_view::npos;
  };
  return !text.empty() && std::all_of(text.begin(), text.end(), fits);
}

void check_kind(const std::string& kind) {
  const auto slash = kind.find('/');
  const bool usable = slash != std::string::npos && is_name(std::string_view(kind).substr(0, slash), "._-") &&
                      is_name(std::string_view(kind).substr(slash + 1), "._-");
  if (!usable) throw IntegrityError(cat("kind is \"", printable(kind), "\", not VENDOR/CLASS"));
}

}  // namespace

void CdiEdits::append(const CdiEdits& more) {
  env.insert(env.end(), more.env.begin(), more.env.end());
  nodes.insert(nodes.end(), more.nodes.begin(), more.nodes.end());
  mounts.insert(mounts.end(), more.mounts.begin(), more.mounts.end());
  additional_gids.insert(additional_gids.end(), more.additional_gids.begin(), more.additional_gids.end());
  refused.insert(refused.end(), more.refused.begin(), more.refused.end());
}

CdiSpec parse_cdi_spec(std::string_view json) {
  const JsonValue file = JsonValue::parse(json, "CDI file");
  const std::string version = file.string_or_empty("cdiVersion");
  if (!version.starts_with("0.") && !version.starts_with("1.") && !version.starts_with("v0.") &&
      !version.starts_with("v1."))
    throw IntegrityError(cat("cdiVersion is \"", printable(version), "\"; 0.x and 1.x are known"));
  CdiSpec spec{.kind = file.string_or_empty("kind"), .devices = {}};
  check_kind(spec.kind);
  CdiEdits common;
  read_edits(file, common);
  const JsonValue* devices = file.find("devices");
  if (devices == nullptr || devices->as_array().empty()) throw IntegrityError("it has no devices");
  for (const JsonValue& value : devices->as_array()) {
    CdiDevice device{.name = value.string_or_empty("name"),
                     .annotations = file.string_map("annotations"),
                     .edits = common};
    if (!is_name(device.name, "._-:"))
      throw IntegrityError(cat("no device can be called \"", printable(device.name), "\""));
    for (const auto& [key, text] : value.string_map("annotations")) device.annotations[key] = text;
    read_edits(value, device.edits);
    spec.devices.push_back(std::move(device));
  }
  return spec;
}

}  // namespace imgbuild::builder
