#include "oci/image_diff.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/strings.h"
#include "oci/json_reader.h"
#include "oci/layer_reader.h"

namespace imgbuild::oci {

namespace {

constexpr std::string_view kAbsent = "(absent)";

/// Thrown inside this file only, when the caller has seen enough.
struct Enough {};

using Fields = std::vector<std::pair<std::string, std::string>>;

class Reporter {
 public:
  explicit Reporter(const std::function<bool(const ImageDifference&)>& found) : found_(found) {}
  void report(ImageDifference difference) {
    any_ = true;
    if (!found_(difference)) throw Enough{};
  }
  bool any() const noexcept { return any_; }

 private:
  const std::function<bool(const ImageDifference&)>& found_;
  bool any_ = false;
};

/// Every value of a document with its path: `config.Env[1]`.
void flatten(const JsonValue& value, const std::string& path, Fields& fields) {
  switch (value.kind()) {
    case JsonValue::Kind::object:
      for (const auto& [name, member] : value.as_object())
        flatten(member, path.empty() ? name : cat(path, ".", name), fields);
      return;
    case JsonValue::Kind::array:
      for (std::size_t i = 0; i < value.as_array().size(); ++i)
        flatten(value.as_array()[i], cat(path, "[", i, "]"), fields);
      return;
    case JsonValue::Kind::string:
      fields.emplace_back(path, cat("\"", value.as_string(), "\""));
      return;
    case JsonValue::Kind::integer:
      fields.emplace_back(path, cat(value.as_integer()));
      return;
    case JsonValue::Kind::boolean:
      fields.emplace_back(path, value.as_bool() ? "true" : "false");
      return;
    case JsonValue::Kind::real:
      fields.emplace_back(path, "a number that is no integer");
      return;
    case JsonValue::Kind::null:
      fields.emplace_back(path, "null");
      return;
  }
}

void compare_fields(const std::string& place, const std::string& path, const Fields& a, const Fields& b,
                    Reporter& reporter) {
  const std::map<std::string, std::string> in_b(b.begin(), b.end());
  const std::map<std::string, std::string> in_a(a.begin(), a.end());
  for (const auto& [field, value] : a) {
    const auto other = in_b.find(field);
    if (other == in_b.end())
      reporter.report({place, path, field, value, std::string(kAbsent)});
    else if (other->second != value)
      reporter.report({place, path, field, value, other->second});
  }
  for (const auto& [field, value] : b) {
    if (!in_a.contains(field)) reporter.report({place, path, field, std::string(kAbsent), value});
  }
}

void compare_documents(const std::string& place, const std::string& a, const std::string& b,
                       const std::vector<std::string>& consequences, Reporter& reporter) {
  const auto fields_of = [&](const std::string& text) {
    Fields fields;
    flatten(JsonValue::parse(text, place), "", fields);
    std::erase_if(fields, [&](const auto& field) {
      return std::any_of(consequences.begin(), consequences.end(),
                         [&](const auto& prefix) { return field.first.starts_with(prefix); });
    });
    return fields;
  };
  const bool found_before = reporter.any();
  compare_fields(place, "", fields_of(a), fields_of(b), reporter);
  if (a != b && !found_before && !reporter.any())
    reporter.report({place, "", "form", "the same values", "written otherwise"});
}

std::string octal(std::uint32_t mode) {
  std::string digits;
  for (int shift = 9; shift >= 0; shift -= 3) digits += static_cast<char>('0' + ((mode >> shift) & 7));
  return digits;
}

/// All that a layer says about one name, as text, and in the order people look at it.
Fields fields_of(const LayerEntry& entry) {
  static constexpr std::array<std::string_view, 6> kTypes{
      "file", "directory", "symlink", "character device", "block device", "fifo"};
  static constexpr std::array<std::string_view, 4> kKinds{"", "hard link", "whiteout", "opaque directory"};
  const FileAttributes& attributes = entry.attributes;
  if (entry.kind != LayerEntry::Kind::node)
    return {{"type", std::string(kKinds.at(static_cast<std::size_t>(entry.kind)))},
            {"target", entry.hard_link_target}};
  Fields fields = {{"type", std::string(kTypes.at(static_cast<std::size_t>(attributes.type)))},
                   {"mode", octal(attributes.mode)},
                   {"uid", cat(attributes.uid)},
                   {"gid", cat(attributes.gid)}};
  if (attributes.type == FileType::regular) fields.emplace_back("size", cat(attributes.size));
  if (entry.content) fields.emplace_back("content", entry.content->str());
  if (attributes.type == FileType::symlink) fields.emplace_back("target", attributes.link_target);
  if (attributes.type == FileType::char_device || attributes.type == FileType::block_device)
    fields.emplace_back("device", cat(attributes.device_major, ":", attributes.device_minor));
  fields.emplace_back("mtime", format_rfc3339(attributes.mtime));
  for (const auto& [name, value] : attributes.xattrs) fields.emplace_back(cat("xattr ", name), to_hex(value));
  return fields;
}

/// The entries of a layer in archive order, with the digests of their contents.
std::vector<LayerEntry> read_entries(const BlobStore& blobs, const LayerBlob& layer) {
  std::vector<LayerEntry> entries;
  const auto tar = open_layer(blobs, layer);
  read_layer(*tar, [&](const LayerEntry& entry, Placement, TarReader& reader, const TarMember&) {
    entries.push_back(entry);
    if (entry.kind != LayerEntry::Kind::node || entry.attributes.type != FileType::regular) return;
    TarContent content(reader);
    NullSink nowhere;
    HashSink hash(nowhere);
    copy(content, hash);
    entries.back().content = hash.digest();
  });
  return entries;
}

void compare_layers(const std::string& place, const std::vector<LayerEntry>& a,
                    const std::vector<LayerEntry>& b, Reporter& reporter) {
  std::map<std::string, const LayerEntry*> in_a, in_b;
  for (const auto& entry : a) in_a[entry.path] = &entry;
  for (const auto& entry : b) in_b[entry.path] = &entry;
  std::map<std::string, std::pair<const LayerEntry*, const LayerEntry*>> both;
  for (const auto& [path, entry] : in_a) both[path].first = entry;
  for (const auto& [path, entry] : in_b) both[path].second = entry;
  for (const auto& [path, entries] : both) {
    const auto& [first, second] = entries;
    if (first == nullptr || second == nullptr) {
      const std::string type = fields_of(first != nullptr ? *first : *second).front().second;
      reporter.report({place, path, "entry", first != nullptr ? type : std::string(kAbsent),
                       second != nullptr ? type : std::string(kAbsent)});
    } else {
      compare_fields(place, path, fields_of(*first), fields_of(*second), reporter);
    }
  }
}

/// Where two layers have the same entries, their bytes can still differ.
void compare_forms(const std::string& place, const std::vector<LayerEntry>& a,
                   const std::vector<LayerEntry>& b, Reporter& reporter) {
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (a[i].path == b[i].path) continue;
    reporter.report({place, "", "order of entries", a[i].path, b[i].path});
    return;
  }
  reporter.report({place, "", "form", "the same entries", "tar headers written otherwise"});
}

/// "layer 3 (COPY . /app)", counted from 1 and named by the history.
std::string place_of(const Image& image, std::size_t number) {
  std::size_t at = 0;
  for (const auto& entry : image.config.history) {
    if (entry.empty_layer) continue;
    if (at++ == number) return cat("layer ", number + 1, " (", printable(entry.created_by), ")");
  }
  return cat("layer ", number + 1);
}

void compare_stacks(const StoredImage& a, const StoredImage& b, Reporter& reporter) {
  const auto& first = a.image.layers;
  const auto& second = b.image.layers;
  for (std::size_t i = 0; i < std::min(first.size(), second.size()); ++i) {
    const std::string place = place_of(a.image, i);
    if (first[i].diff_id == second[i].diff_id) {
      if (first[i].blob.digest != second[i].blob.digest)
        reporter.report({place, "", "compressed form",
                         cat(first[i].blob.media_type, " ", first[i].blob.size, " bytes"),
                         cat(second[i].blob.media_type, " ", second[i].blob.size, " bytes")});
      continue;
    }
    const auto entries = read_entries(a.blobs, first[i]);
    const auto others = read_entries(b.blobs, second[i]);
    bool any = false;
    const std::function<bool(const ImageDifference&)> pass_on = [&](const ImageDifference& difference) {
      any = true;
      reporter.report(difference);
      return true;
    };
    Reporter local(pass_on);
    compare_layers(place, entries, others, local);
    if (!any) compare_forms(place, entries, others, reporter);
  }
  if (first.size() != second.size())
    reporter.report({"image", "", "number of layers", cat(first.size()), cat(second.size())});
}

}  // namespace

void compare_images(const StoredImage& a, const StoredImage& b,
                    const std::function<bool(const ImageDifference&)>& found) {
  if (a.image.descriptor.digest == b.image.descriptor.digest) return;
  Reporter reporter(found);
  try {
    compare_stacks(a, b, reporter);
    compare_documents("config", a.image.config_bytes, b.image.config_bytes, {"rootfs.diff_ids"}, reporter);
    // Digests and sizes follow from what they describe.
    compare_documents("manifest", a.image.manifest_bytes, b.image.manifest_bytes,
                      {"config.digest", "config.size", "layers["}, reporter);
  } catch (const Enough&) {
    return;
  }
}

}  // namespace imgbuild::oci
