#include "oci/image_config.h"

#include <set>

#include "base/error.h"
#include "base/strings.h"
#include "oci/json_reader.h"
#include "oci/json_writer.h"

namespace imgbuild::oci {

namespace {

void write_empty_objects(JsonWriter& json, std::string_view name, const std::set<std::string>& keys) {
  if (keys.empty()) return;
  json.key(name).begin_object();
  for (const auto& key : keys) json.key(key).begin_object().end_object();
  json.end_object();
}

void write_command(JsonWriter& json, std::string_view name,
                   const std::optional<std::vector<std::string>>& words) {
  if (words) json.member(name, *words);
}

void write_number(JsonWriter& json, std::string_view name, std::int64_t number) {
  if (number != 0) json.key(name).number(number);
}

void write_healthcheck(JsonWriter& json, const Healthcheck& check) {
  json.key("Healthcheck").begin_object();
  json.member("Test", check.test);
  write_number(json, "Interval", check.interval_ns);
  write_number(json, "Timeout", check.timeout_ns);
  write_number(json, "StartPeriod", check.start_period_ns);
  write_number(json, "StartInterval", check.start_interval_ns);
  write_number(json, "Retries", check.retries);
  json.end_object();
}

void write_runtime(JsonWriter& json, const RuntimeConfig& config) {
  json.key("config").begin_object();
  json.member("User", config.user);
  write_empty_objects(json, "ExposedPorts", config.exposed_ports);
  json.member("Env", config.env);
  write_command(json, "Entrypoint", config.entrypoint);
  write_command(json, "Cmd", config.cmd);
  write_empty_objects(json, "Volumes", config.volumes);
  json.member("WorkingDir", config.working_dir);
  json.member("Labels", config.labels);
  json.member("StopSignal", config.stop_signal);
  if (config.args_escaped) json.key("ArgsEscaped").boolean(true);
  if (config.healthcheck) write_healthcheck(json, *config.healthcheck);
  json.member("OnBuild", config.on_build);
  json.member("Shell", config.shell);
  json.end_object();
}

void write_history(JsonWriter& json, const std::vector<HistoryEntry>& history) {
  if (history.empty()) return;
  json.key("history").begin_array();
  for (const auto& entry : history) {
    json.begin_object();
    if (entry.created) json.key("created").string(format_rfc3339(*entry.created));
    json.member("created_by", entry.created_by);
    json.member("author", entry.author);
    json.member("comment", entry.comment);
    if (entry.empty_layer) json.key("empty_layer").boolean(true);
    json.end_object();
  }
  json.end_array();
}

std::set<std::string> read_keys(const JsonValue& json, const std::string& name) {
  std::set<std::string> out;
  if (const JsonValue* map = json.find(name)) {
    for (const auto& [key, unused] : map->as_object()) out.insert(key);
  }
  return out;
}

std::optional<std::vector<std::string>> read_command(const JsonValue& json, const std::string& name) {
  const JsonValue* value = json.find(name);
  if (value == nullptr) return std::nullopt;
  if (value->kind() == JsonValue::Kind::string) return std::vector{value->as_string()};  // very old images
  auto words = json.strings(name);
  return words.empty() ? std::nullopt : std::optional(std::move(words));
}

Healthcheck read_healthcheck(const JsonValue& json) {
  return {json.strings("Test"),
          json.integer_or("Interval", 0),
          json.integer_or("Timeout", 0),
          json.integer_or("StartPeriod", 0),
          json.integer_or("StartInterval", 0),
          static_cast<int>(json.integer_or("Retries", 0))};
}

RuntimeConfig read_runtime(const JsonValue& json) {
  RuntimeConfig out;
  out.user = json.string_or_empty("User");
  out.exposed_ports = read_keys(json, "ExposedPorts");
  out.env = json.strings("Env");
  out.entrypoint = read_command(json, "Entrypoint");
  out.cmd = read_command(json, "Cmd");
  out.volumes = read_keys(json, "Volumes");
  out.working_dir = json.string_or_empty("WorkingDir");
  out.labels = json.string_map("Labels");
  out.stop_signal = json.string_or_empty("StopSignal");
  if (const JsonValue* escaped = json.find("ArgsEscaped")) out.args_escaped = escaped->as_bool();
  if (const JsonValue* check = json.find("Healthcheck")) out.healthcheck = read_healthcheck(*check);
  out.on_build = json.strings("OnBuild");
  out.shell = json.strings("Shell");
  return out;
}

std::optional<Timestamp> read_time(const JsonValue& json, const std::string& name) {
  const std::string text = json.string_or_empty(name);
  if (text.empty()) return std::nullopt;
  try {
    return parse_rfc3339(text);
  } catch (const Error& error) {
    throw IntegrityError(cat("image config: ", error.message()));
  }
}

}  // namespace

std::string ImageConfig::serialize() const {
  JsonWriter json(false);
  json.begin_object();
  json.key("architecture").string(platform.architecture);
  json.member("author", author);
  write_runtime(json, config);
  if (created) json.key("created").string(format_rfc3339(*created));
  write_history(json, history);
  json.key("os").string(platform.os);
  json.member("os.features", platform.os_features);
  json.member("os.version", platform.os_version);
  json.key("rootfs").begin_object().key("type").string("layers").key("diff_ids").begin_array();
  for (const auto& id : diff_ids) json.string(id.value.str());
  json.end_array().end_object();
  json.member("variant", platform.variant);
  json.end_object();
  return json.take();
}

ImageConfig ImageConfig::parse(std::string_view text) {
  const JsonValue json = JsonValue::parse(text, "image config");
  ImageConfig out;
  out.platform.os = json.string_or_empty("os");
  out.platform.architecture = json.string_or_empty("architecture");
  out.platform.variant = json.string_or_empty("variant");
  out.platform.os_version = json.string_or_empty("os.version");
  out.platform.os_features = json.strings("os.features");
  out.platform = Platform::normalized(std::move(out.platform));
  out.author = json.string_or_empty("author");
  out.created = read_time(json, "created");
  if (const JsonValue* config = json.find("config")) out.config = read_runtime(*config);
  if (const JsonValue* rootfs = json.find("rootfs")) {
    if (const std::string type = rootfs->string_or_empty("type"); type != "layers") {
      throw IntegrityError(cat("image config: rootfs of type \"", printable(type), "\" is not supported"));
    }
    for (const auto& id : rootfs->strings("diff_ids")) out.diff_ids.push_back({Digest::parse(id)});
  }
  if (const JsonValue* history = json.find("history")) {
    for (const auto& entry : history->as_array()) {
      const JsonValue* empty = entry.find("empty_layer");
      out.history.push_back({read_time(entry, "created"), entry.string_or_empty("created_by"),
                             entry.string_or_empty("author"), entry.string_or_empty("comment"),
                             empty != nullptr && empty->as_bool()});
    }
  }
  return out;
}

}  // namespace imgbuild::oci
