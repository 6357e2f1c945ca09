#include "oci/descriptor_json.h"

#include "base/error.h"

namespace imgbuild::oci {

void write_platform(JsonWriter& json, const Platform& platform) {
  json.begin_object();
  json.key("architecture").string(platform.architecture);
  json.key("os").string(platform.os);
  json.member("os.version", platform.os_version);
  json.member("os.features", platform.os_features);
  json.member("variant", platform.variant);
  json.end_object();
}

Platform read_platform(const JsonValue& json) {
  Platform raw;
  raw.os = json.string_or_empty("os");
  raw.architecture = json.string_or_empty("architecture");
  raw.variant = json.string_or_empty("variant");
  raw.os_version = json.string_or_empty("os.version");
  raw.os_features = json.strings("os.features");
  return Platform::normalized(std::move(raw));
}

void write_descriptor(JsonWriter& json, const Descriptor& descriptor) {
  json.begin_object();
  json.key("mediaType").string(descriptor.media_type);
  json.key("digest").string(descriptor.digest.str());
  json.key("size").number(static_cast<std::int64_t>(descriptor.size));
  json.member("urls", descriptor.urls);
  json.member("annotations", descriptor.annotations);
  if (descriptor.platform) {
    json.key("platform");
    write_platform(json, *descriptor.platform);
  }
  json.member("artifactType", descriptor.artifact_type);
  json.end_object();
}

namespace {

Digest read_digest(const std::string& text) {
  try {
    return Digest::parse(text);
  } catch (const Error& error) {
    throw IntegrityError(error.message());  // foreign bytes are wrong, not the user's words
  }
}

}  // namespace

Descriptor read_descriptor(const JsonValue& json) {
  const JsonValue* digest = json.find("digest");
  const JsonValue* size = json.find("size");
  if (digest == nullptr || size == nullptr) throw IntegrityError("a descriptor without digest or size");
  if (size->as_integer() < 0) throw IntegrityError("a descriptor with a negative size");
  Descriptor out{.media_type = json.string_or_empty("mediaType"),
                 .digest = read_digest(digest->as_string()),
                 .size = static_cast<std::uint64_t>(size->as_integer()),
                 .urls = json.strings("urls"),
                 .annotations = json.string_map("annotations"),
                 .platform = std::nullopt,
                 .artifact_type = json.string_or_empty("artifactType")};
  if (const JsonValue* platform = json.find("platform")) out.platform = read_platform(*platform);
  return out;
}

}  // namespace imgbuild::oci
