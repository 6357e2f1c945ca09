#include <doctest/doctest.h>

#include "base/error.h"
#include "base/hash.h"
#include "oci/reference.h"
#include "tests/support/golden_image.h"
#include "tests/support/memory_blob_store.h"

using namespace imgbuild;
using namespace imgbuild::oci;
using namespace imgbuild::tests;

TEST_CASE("config and manifest of the specification come out byte for byte") {
  MemoryBlobStore blobs;
  const Image image = golden_image(blobs);
  CHECK(image.config_bytes.size() == 709);
  CHECK(image.manifest.config.digest.hex() ==
        "86904aafef405178e3cb77a09087475e72dec9555e990944d5865d5a36aba90d");
  CHECK(image.manifest_bytes.size() == 475);
  CHECK(image.descriptor.digest.hex() == "b2eb33858338a0c3f3b35b9eb5ed5097cf75b633845e7f7a7612e69606f9e99a");
  CHECK(Manifest::parse(image.manifest_bytes, kOciManifest).serialize() == image.manifest_bytes);
  CHECK(ImageConfig::parse(image.config_bytes).serialize() == image.config_bytes);
}

TEST_CASE("an image is loaded as it was written") {
  MemoryBlobStore blobs;
  const Image written = golden_image(blobs);
  const Image loaded = load_image(blobs, written.descriptor, Platform::parse("linux/amd64"), false);
  CHECK(loaded.manifest_bytes == written.manifest_bytes);
  CHECK(loaded.config == written.config);
  REQUIRE(loaded.layers.size() == 1);
  CHECK(loaded.layers[0].diff_id == written.layers[0].diff_id);
}

TEST_CASE("a manifest that does not fit its config or descriptor is refused (ATK-93)") {
  MemoryBlobStore blobs;
  const Platform here = Platform::parse("linux/amd64");
  Image image = golden_image(blobs);
  image.descriptor.size += 1;
  CHECK_THROWS_WITH_AS(load_image(blobs, image.descriptor, here, false), doctest::Contains("descriptor says"),
                       IntegrityError);
  image.descriptor.size = 5 << 20;
  CHECK_THROWS_WITH_AS(load_image(blobs, image.descriptor, here, false), doctest::Contains("larger"),
                       IntegrityError);
  Manifest manifest = image.manifest;
  manifest.layers.push_back(manifest.layers[0]);
  const std::string bytes = manifest.serialize();
  Descriptor target = image.descriptor;
  target.digest = put_blob(blobs, bytes);
  target.size = bytes.size();
  CHECK_THROWS_WITH_AS(load_image(blobs, target, here, false), doctest::Contains("2 layers"), IntegrityError);
}

TEST_CASE("Docker's media types go through the whole image or not at all") {
  MemoryBlobStore blobs;
  LayerBlob layer = golden_layer(blobs);
  const Image image =
      write_image(blobs, golden_config(), {layer}, {.annotations = {}, .docker_media_types = true});
  CHECK(image.descriptor.media_type == kDockerManifest);
  CHECK(image.manifest.config.media_type == kDockerConfig);
  CHECK(image.manifest.layers[0].media_type == kDockerLayerGzip);
  CHECK_THROWS_AS(
      write_image(blobs, golden_config(), {layer}, {.annotations = {{"a", "b"}}, .docker_media_types = true}),
      UnsupportedError);
  layer.blob.media_type = kOciLayerZstd;
  CHECK_THROWS_AS(
      write_image(blobs, golden_config(), {layer}, {.annotations = {}, .docker_media_types = true}),
      UnsupportedError);
  const Image noted =
      write_image(blobs, golden_config(), {golden_layer(blobs)}, {.annotations = {{"b", ""}, {"a", "1"}}});
  CHECK(noted.manifest_bytes.ends_with("\"annotations\": {\n    \"a\": \"1\",\n    \"b\": \"\"\n  }\n}"));
}

TEST_CASE("the references of the specification are understood as listed") {
  const std::string hex(64, 'a');
  const std::string digest = "sha256:" + hex;
  const std::string tag128(128, 't');
  const std::vector<std::pair<std::string, std::string>> good = {
      {"foo", "docker.io/library/foo:latest"},
      {"foo:1", "docker.io/library/foo:1"},
      {"a/b", "docker.io/a/b:latest"},
      {"docker.io/foo", "docker.io/library/foo:latest"},
      {"docker.io/library/foo", "docker.io/library/foo:latest"},
      {"index.docker.io/foo:2", "docker.io/library/foo:2"},
      {"registry-1.docker.io/foo", "registry-1.docker.io/foo:latest"},
      {"localhost/foo", "localhost/foo:latest"},
      {"LOCALHOST/foo", "LOCALHOST/foo:latest"},
      {"FOO/bar", "FOO/bar:latest"},
      {"Foo.io/bar", "Foo.io/bar:latest"},
      {"host:5000", "docker.io/library/host:5000"},
      {"host:5000/x", "host:5000/x:latest"},
      {"[::1]:5000/x", "[::1]:5000/x:latest"},
      {"127.0.0.1/x", "127.0.0.1/x:latest"},
      {"x.y", "docker.io/library/x.y:latest"},
      {"foo@" + digest, "docker.io/library/foo@" + digest},
      {"foo:1@" + digest, "docker.io/library/foo:1@" + digest},
      {"x/" + hex, "docker.io/x/" + hex + ":latest"},
      {"a__b", "docker.io/library/a__b:latest"},
      {"a--b", "docker.io/library/a--b:latest"},
      {"x:" + tag128, "docker.io/library/x:" + tag128},
  };
  for (const auto& [given, result] : good) {
    const auto& text = given;  // a macro may not capture a binding
    CAPTURE(text);
    CHECK(Reference::parse(text).str() == result);
    CHECK(Reference::parse(result).str() == result);
  }
  for (const std::string& text :
       {hex, std::string("Foo"), std::string("a___b"), std::string("a..b"), std::string("a_-b"),
        std::string(".a/b"), std::string("a.b-/c"), std::string("x.y/"), std::string("foo:.x"),
        std::string("foo:-x"), std::string("foo:a/b"), "x:" + tag128 + "t", std::string("http://x/y"),
        std::string(" x"), std::string("host:99999/x"), "a@" + digest + "@" + digest,
        std::string(10'240, 'a')}) {
    CAPTURE(text);
    CHECK_THROWS_AS(Reference::parse(text), Error);
  }
}
