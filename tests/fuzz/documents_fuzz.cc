// Input: a byte that chooses the reader, then a document as a registry, an archive, a layout or a damaged
// store may hold it. What is accepted must survive being written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "cache/record_codec.h"
#include "oci/image_config.h"
#include "oci/json_reader.h"
#include "oci/layer_index.h"
#include "oci/layout.h"
#include "oci/manifest.h"
#include "oci/media_type.h"

using namespace imgbuild;

namespace {

template <typename Document>
void require_same(const Document& a, const Document& b) {
  if (!(a == b)) std::abort();
}

void read_manifest(std::string_view text, std::string_view type) {
  const auto once = oci::Manifest::parse(text, type);
  const std::string written = once.serialize();
  require_same(oci::Manifest::parse(written, type).serialize(), written);
}

void read_index(std::string_view text, std::string_view type) {
  const auto once = oci::Index::parse(text, type);
  (void)once.select(oci::Platform::parse("linux/amd64"), true);
  const std::string written = once.serialize(true);
  require_same(oci::Index::parse(written, type).serialize(true), written);
}

void read(unsigned choice, std::string_view text) {
  switch (choice % 8) {
    case 0:
      return read_manifest(text, oci::kOciManifest);
    case 1:
      return read_manifest(text, oci::kDockerManifest);
    case 2:
      return read_index(text, oci::kOciIndex);
    case 3: {
      const auto config = oci::ImageConfig::parse(text);
      return require_same(oci::ImageConfig::parse(config.serialize()), config);
    }
    case 4:
      (void)oci::read_layout_index(text);
      return oci::check_layout_marker(text);
    case 5: {
      const auto index = oci::LayerIndex::parse(text);
      return require_same(oci::LayerIndex::parse(index.serialize()).entries, index.entries);
    }
    case 6: {
      const auto record = cache::decode_record(text);
      if (record)
        require_same(cache::encode_record(*cache::decode_record(cache::encode_record(*record))),
                     cache::encode_record(*record));
      return;
    }
    default:
      (void)oci::JsonValue::parse(text, "document");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  try {
    read(data[0], {reinterpret_cast<const char*>(data) + 1, size - 1});
  } catch (const Error&) {
  }
  return 0;
}
