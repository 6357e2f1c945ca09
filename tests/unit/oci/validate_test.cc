#include "oci/validate.h"

#include <doctest/doctest.h>

#include "base/hash.h"
#include "tests/support/golden_image.h"
#include "tests/support/memory_blob_store.h"

using namespace imgbuild;
using namespace imgbuild::oci;
using namespace imgbuild::tests;

namespace {

bool mentions(const std::vector<std::string>& findings, std::string_view text) {
  for (const auto& finding : findings) {
    if (finding.find(text) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("nothing is found in a good image") {
  MemoryBlobStore blobs;
  CHECK(validate_image(blobs, golden_image(blobs).descriptor) == std::vector<std::string>());
}

TEST_CASE("an image without layers is good") {
  MemoryBlobStore blobs;
  ImageConfig config = golden_config();
  config.diff_ids.clear();
  config.history.pop_back();
  const Image image = write_image(blobs, config, {});
  CHECK(image.manifest_bytes.find("\"layers\": []") != std::string::npos);
  CHECK(image.config_bytes.find("\"diff_ids\":[]") != std::string::npos);
  CHECK(validate_image(blobs, image.descriptor).empty());
}

TEST_CASE("every lie of an image is found") {
  MemoryBlobStore blobs;
  ImageConfig config = golden_config();
  LayerBlob layer = golden_layer(blobs);
  SUBCASE("a wrong diff ID") {
    config.diff_ids[0].value = Digest::parse("sha256:" + std::string(64, '3'));
    layer.diff_id = config.diff_ids[0];
    CHECK(
        mentions(validate_image(blobs, write_image(blobs, config, {layer}).descriptor), "layer sha256:4f4f"));
  }
  SUBCASE("a compression the type does not tell") {
    layer.blob.media_type = kOciLayer;
    CHECK(mentions(validate_image(blobs, write_image(blobs, config, {layer}).descriptor), "its bytes gzip"));
  }
  SUBCASE("a wrong size") {
    layer.blob.size = 31;
    CHECK(mentions(validate_image(blobs, write_image(blobs, config, {layer}).descriptor), "has 32 bytes"));
  }
  SUBCASE("a missing layer") {
    layer.blob.digest = Digest::parse("sha256:" + std::string(64, '3'));
    CHECK(mentions(validate_image(blobs, write_image(blobs, config, {layer}).descriptor), "is missing"));
  }
  SUBCASE("a damaged blob") {
    const Image image = write_image(blobs, config, {layer});
    blobs.plant(layer.blob.digest, std::string(32, 'x'));
    CHECK(mentions(validate_image(blobs, image.descriptor), "does not match its digest"));
  }
  SUBCASE("a history of other layers") {
    config.history.pop_back();
    CHECK(mentions(validate_image(blobs, write_image(blobs, config, {layer}).descriptor),
                   "history tells of 0"));
  }
  SUBCASE("another platform than announced") {
    Descriptor target = write_image(blobs, config, {layer}).descriptor;
    target.platform = Platform::parse("linux/arm64");
    CHECK(mentions(validate_image(blobs, target), "announced for linux/arm64"));
  }
  SUBCASE("bytes that are no tar") {
    const std::string text(1024, 'x');
    layer.blob.media_type = kOciLayer;
    layer.blob.digest = put_blob(blobs, text);
    layer.blob.size = text.size();
    layer.diff_id = {layer.blob.digest};
    config.diff_ids = {layer.diff_id};
    CHECK(mentions(validate_image(blobs, write_image(blobs, config, {layer}).descriptor), "tar"));
  }
}
