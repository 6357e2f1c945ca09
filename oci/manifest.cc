#include "oci/manifest.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "oci/descriptor_json.h"
#include "oci/media_type.h"

namespace imgbuild::oci {

namespace {

constexpr std::size_t kMaxManifests = 1000;

/// The checks manifests and indexes share: version, type inside and outside, not both kinds at once.
std::string check_document(const JsonValue& json, std::string_view expected, std::string_view what) {
  if (json.integer_or("schemaVersion", 0) != 2) {
    throw IntegrityError(cat(what, ": schemaVersion is not 2; images of schema 1 are not supported"));
  }
  if (json.find("manifests") != nullptr &&
      (json.find("layers") != nullptr || json.find("config") != nullptr)) {
    throw IntegrityError(cat(what, ": has both the members of a manifest and of an index"));
  }
  const std::string inside = json.string_or_empty("mediaType");
  const bool generic =
      expected.empty() || expected == "application/json" || expected == "application/octet-stream";
  if (inside.empty() && generic)
    throw IntegrityError(cat(what, ": nothing says what type of document it is"));
  if (!inside.empty() && !generic && inside != expected) {
    throw IntegrityError(
        cat(what, ": announced as ", printable(expected), " but says it is ", printable(inside)));
  }
  return inside.empty() ? std::string(expected) : inside;
}

/// What manifests and indexes end with.
void write_tail(JsonWriter& json, const std::optional<Descriptor>& subject,
                const std::map<std::string, std::string>& annotations) {
  if (subject) {
    json.key("subject");
    write_descriptor(json, *subject);
  }
  json.member("annotations", annotations);
  json.end_object();
}

/// Lower is better; nothing: does not fit (IMG-44).
std::optional<std::size_t> preference(const Platform& wanted, const Platform& offered, bool allow_fallback) {
  if (wanted.os != offered.os) return std::nullopt;
  if (wanted.os == "windows" && !wanted.os_version.empty() && wanted.os_version != offered.os_version)
    return std::nullopt;
  const bool features_known =
      std::all_of(offered.os_features.begin(), offered.os_features.end(), [&](const auto& feature) {
        return std::find(wanted.os_features.begin(), wanted.os_features.end(), feature) !=
               wanted.os_features.end();
      });
  if (!features_known) return std::nullopt;  // IMG-47
  std::vector<std::pair<std::string, std::string>> order;
  const std::string& variant = wanted.variant;
  if (wanted.architecture == "amd64") {
    for (char level = variant.size() == 2 ? variant[1] : '1'; level > '1'; --level)
      order.emplace_back("amd64", cat("v", level));
    order.emplace_back("amd64", "");
    if (allow_fallback) order.emplace_back("386", "");
  } else if (wanted.architecture == "arm64") {
    if (variant.starts_with("v9")) order.emplace_back("arm64", variant);
    order.emplace_back("arm64", "");
    if (allow_fallback) {
      for (const char* arm : {"v8", "v7", "v6", "v5"}) order.emplace_back("arm", arm);
    }
  } else if (wanted.architecture == "arm") {
    for (char level = variant.size() == 2 ? variant[1] : '7'; level >= '5'; --level)
      order.emplace_back("arm", cat("v", level));
  } else {
    order.emplace_back(wanted.architecture, variant);
  }
  const auto found = std::find(order.begin(), order.end(), std::pair(offered.architecture, offered.variant));
  if (found == order.end()) return std::nullopt;
  return static_cast<std::size_t>(found - order.begin());
}

/// Attestations and artifacts are never an image to run (IMG-45).
bool is_candidate(const Descriptor& entry) {
  if (!is_manifest_type(entry.media_type) && !is_index_type(entry.media_type)) return false;
  if (!entry.artifact_type.empty() || entry.annotations.contains("vnd.docker.reference.type")) return false;
  return !entry.platform || entry.platform->os != "unknown" || entry.platform->architecture != "unknown";
}

}  // namespace

std::string Manifest::serialize() const {
  JsonWriter json(true);
  json.begin_object();
  json.key("schemaVersion").number(2);
  json.key("mediaType").string(media_type);
  json.member("artifactType", artifact_type);
  json.key("config");
  write_descriptor(json, config);
  json.key("layers").begin_array();
  for (const auto& layer : layers) write_descriptor(json, layer);
  json.end_array();
  write_tail(json, subject, annotations);
  return json.take();
}

Manifest Manifest::parse(std::string_view text, std::string_view expected_media_type) {
  const JsonValue json = JsonValue::parse(text, "manifest");
  const std::string type = check_document(json, expected_media_type, "manifest");
  if (!is_manifest_type(type))
    throw IntegrityError(cat("manifest: ", printable(type), " is no image manifest"));
  const JsonValue* config = json.find("config");
  if (config == nullptr) throw IntegrityError("manifest: it names no config");
  Manifest out{.media_type = type,
               .artifact_type = json.string_or_empty("artifactType"),
               .config = read_descriptor(*config),
               .layers = {},
               .subject = std::nullopt,
               .annotations = json.string_map("annotations")};
  if (const JsonValue* layers = json.find("layers")) {
    if (layers->as_array().size() > kMaxLayers)
      throw IntegrityError(cat("manifest: more than ", kMaxLayers, " layers"));
    for (const auto& layer : layers->as_array()) out.layers.push_back(read_descriptor(layer));
  }
  if (const JsonValue* subject = json.find("subject")) out.subject = read_descriptor(*subject);
  return out;
}

std::string Index::serialize(bool pretty) const {
  JsonWriter json(pretty);
  json.begin_object();
  json.key("schemaVersion").number(2);
  json.key("mediaType").string(media_type);
  json.member("artifactType", artifact_type);
  json.key("manifests").begin_array();
  for (const auto& manifest : manifests) write_descriptor(json, manifest);
  json.end_array();
  write_tail(json, subject, annotations);
  return json.take();
}

Index Index::parse(std::string_view text, std::string_view expected_media_type) {
  const JsonValue json = JsonValue::parse(text, "index");
  const std::string type = check_document(json, expected_media_type, "index");
  if (!is_index_type(type)) throw IntegrityError(cat("index: ", printable(type), " is no image index"));
  Index out;
  out.media_type = type;
  out.artifact_type = json.string_or_empty("artifactType");
  out.annotations = json.string_map("annotations");
  const JsonValue* manifests = json.find("manifests");
  if (manifests == nullptr) throw IntegrityError("index: it lists no manifests");
  if (manifests->as_array().size() > kMaxManifests) {
    throw IntegrityError(cat("index: more than ", kMaxManifests, " manifests"));
  }
  for (const auto& manifest : manifests->as_array()) out.manifests.push_back(read_descriptor(manifest));
  if (const JsonValue* subject = json.find("subject")) out.subject = read_descriptor(*subject);
  return out;
}

std::optional<Descriptor> Index::select(const Platform& wanted, bool allow_fallback) const {
  const Descriptor* best = nullptr;
  std::size_t best_rank = 0;
  const Descriptor* unnamed = nullptr;
  std::size_t unnamed_count = 0;
  for (const auto& entry : manifests) {
    if (!is_candidate(entry)) continue;
    if (!entry.platform) {
      unnamed = unnamed == nullptr ? &entry : unnamed;
      ++unnamed_count;
      continue;
    }
    const auto rank = preference(wanted, *entry.platform, allow_fallback);
    if (!rank || (best != nullptr && *rank >= best_rank)) continue;
    best = &entry;
    best_rank = *rank;
  }
  if (best != nullptr) return *best;
  return unnamed_count == 1 ? std::optional(*unnamed) : std::nullopt;
}

}  // namespace imgbuild::oci
