#include <doctest/doctest.h>

#include "base/error.h"
#include "oci/image_config.h"
#include "oci/json_reader.h"
#include "oci/json_writer.h"
#include "oci/manifest.h"
#include "oci/media_type.h"
#include "oci/platform.h"
#include "oci/reference.h"

using namespace imgbuild;
using namespace imgbuild::oci;

TEST_CASE("JSON strings are escaped by one fixed table") {
  JsonWriter json(false);
  json.string(
      "a\"\\\b\t\n\f\r\x01<>&/\x7f"
      "\u2028\u2029é😀\xff");
  CHECK(json.take() ==
        "\"a\\\"\\\\\\b\\t\\n\\f\\r\\u0001\\u003c\\u003e\\u0026/\x7f\\u2028\\u2029é😀\\ufffd\"");
}

TEST_CASE("pretty JSON keeps empty lists on one line") {
  JsonWriter json(true);
  json.begin_object()
      .key("a")
      .begin_array()
      .end_array()
      .key("b")
      .begin_object()
      .key("c")
      .number(-1)
      .end_object();
  json.end_object();
  CHECK(json.take() == "{\n  \"a\": [],\n  \"b\": {\n    \"c\": -1\n  }\n}");
}

TEST_CASE("the reader refuses what two readers could understand differently (ATK-92)") {
  for (const std::string bad : {"", "{", "{}x", "{\"a\":1,\"a\":2}", "[1,]", "\"\xff\"",
                                "{\"a\":{\"b\":1,\"b\":1}}", "99999999999999999999999", "nul"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(JsonValue::parse(bad, "test").as_integer(), IntegrityError);
  }
  std::string deep(100, '[');
  deep += std::string(100, ']');
  CHECK_THROWS_WITH_AS(JsonValue::parse(deep, "test"), doctest::Contains("64 levels"), IntegrityError);
  CHECK_THROWS_AS(JsonValue::parse("1.5", "test").as_integer(), IntegrityError);
  CHECK(JsonValue::parse("[1]", "test").as_array()[0].as_integer() == 1);
}

TEST_CASE("platforms are normalised and foreign spellings understood") {
  CHECK(Platform::parse("linux/x86_64").str() == "linux/amd64");
  CHECK(Platform::parse("linux/amd64/v1").str() == "linux/amd64");
  CHECK(Platform::parse("linux/arm64/v8").str() == "linux/arm64");
  CHECK(Platform::parse("linux/aarch64").str() == "linux/arm64");
  CHECK(Platform::parse("linux/arm").str() == "linux/arm/v7");
  CHECK(Platform::parse("linux/armel").str() == "linux/arm/v6");
  CHECK(Platform::parse("arm64").str() == "linux/arm64");
  CHECK(Platform::parse("windows(10.0.1)/amd64").os_version == "10.0.1");
  for (const std::string bad :
       {"", "/", "linux/", "linux/amd64/v1/x", "li nux/amd64", "nothing", "linux(1/amd64"}) {
    CAPTURE(bad);
    CHECK_THROWS_WITH_AS(Platform::parse(bad), doctest::Contains("failed to parse platform"), Error);
  }
}

TEST_CASE("references are normalised and checked before they reach a URL (ATK-99)") {
  CHECK(Reference::parse("alpine").str() == "docker.io/library/alpine:latest");
  CHECK(Reference::parse("alpine").familiar() == "alpine:latest");
  CHECK(Reference::parse("u/p:1").str() == "docker.io/u/p:1");
  CHECK(Reference::parse("localhost/x").registry() == "localhost");
  CHECK(Reference::parse("localhost:5000/x/y:t").repository() == "x/y");
  CHECK(Reference::parse("index.docker.io/library/a").str() == "docker.io/library/a:latest");
  CHECK(Reference::parse("[::1]:5000/a:b").registry() == "[::1]:5000");
  const std::string digest = "sha256:" + std::string(64, 'a');
  CHECK_FALSE(Reference::parse("a@" + digest).tag());
  CHECK(Reference::parse("a:t@" + digest).manifest_selector() == digest);
  for (const std::string bad : {"", "a/Upper", "a//b", "a:", "a:-x", "host:99999/x", "a/../b", "a@sha256:00",
                                "-a", "a__b___c", "a b", "a\nb", "x:y:z"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(Reference::parse(bad), Error);
  }
  CHECK_THROWS_WITH_AS(Reference::parse("Base"), doctest::Contains("must be lowercase"), Error);
}

TEST_CASE("a config survives the round trip and drops foreign members") {
  ImageConfig config;
  config.platform = Platform::parse("linux/arm/v7");
  config.author = "somebody";
  config.created = Timestamp{1700000000, 120000000};
  config.config.env = {"PATH=/bin", "A=<&>"};
  config.config.cmd = std::vector<std::string>{"sh"};
  config.config.exposed_ports = {"80/tcp"};
  config.config.healthcheck = Healthcheck{{"CMD-SHELL", "x"}, 5, 0, 0, 0, 3};
  config.diff_ids = {{Digest::parse("sha256:" + std::string(64, '1'))}};
  config.history = {{std::nullopt, "ENV A=b", "", "comment", true},
                    {Timestamp{1, 0}, "RUN x", "", "", false}};
  const std::string bytes = config.serialize();
  CHECK(
      bytes.starts_with("{\"architecture\":\"arm\",\"author\":\"somebody\",\"config\":{\"ExposedPorts\":{"
                        "\"80/tcp\":{}},\"Env\":"));
  CHECK(ImageConfig::parse(bytes) == config);
  const ImageConfig stripped = ImageConfig::parse(
      "{\"os\":\"linux\",\"architecture\":\"amd64\",\"container\":\"x\",\"config\":{\"Hostname\":\"h\"}}");
  CHECK(stripped.serialize().find("ostname") == std::string::npos);
}

TEST_CASE("a digest is checked before it can become a path (ATK-84)") {
  for (const char* digest : {"sha256:../../etc", "sha256:00", "md5:0", ""}) {
    CAPTURE(digest);
    const std::string text = "{\"schemaVersion\":2,\"mediaType\":\"" + std::string(kOciManifest) +
                             "\",\"config\":{\"digest\":\"" + digest + "\",\"size\":1},\"layers\":[]}";
    CHECK_THROWS_AS(Manifest::parse(text, kOciManifest), IntegrityError);
  }
}

TEST_CASE("a document that is both manifest and index is refused (ATK-83)") {
  const std::string both = "{\"schemaVersion\":2,\"mediaType\":\"" + std::string(kOciManifest) +
                           "\",\"manifests\":[],\"layers\":[]}";
  CHECK_THROWS_AS(Manifest::parse(both, kOciManifest), IntegrityError);
  CHECK_THROWS_AS(Index::parse(both, kOciIndex), IntegrityError);
  CHECK_THROWS_AS(Manifest::parse("{\"schemaVersion\":1}", kOciManifest), IntegrityError);
  const std::string index =
      "{\"schemaVersion\":2,\"mediaType\":\"" + std::string(kOciIndex) + "\",\"manifests\":[]}";
  CHECK_THROWS_WITH_AS(Index::parse(index, kDockerList), doctest::Contains("announced as"), IntegrityError);
}

TEST_CASE("the entry of an index is chosen by platform, attestations never") {
  const auto entry = [](char digit, const char* platform) {
    return Descriptor{.media_type = std::string(kOciManifest),
                      .digest = Digest::parse("sha256:" + std::string(64, digit)),
                      .size = 1,
                      .urls = {},
                      .annotations = {},
                      .platform = Platform::parse(platform),
                      .artifact_type = {}};
  };
  Index index;
  index.manifests = {entry('0', "linux/386"), entry('1', "linux/arm/v6"), entry('2', "linux/amd64/v2"),
                     entry('3', "linux/amd64")};
  CHECK(index.select(Platform::parse("linux/amd64"), false)->digest == index.manifests[3].digest);
  CHECK(index.select(Platform::parse("linux/amd64/v3"), false)->digest == index.manifests[2].digest);
  CHECK(index.select(Platform::parse("linux/arm/v7"), false)->digest == index.manifests[1].digest);
  CHECK_FALSE(index.select(Platform::parse("linux/arm64"), false));
  CHECK(index.select(Platform::parse("linux/arm64"), true)->digest == index.manifests[1].digest);
  index.manifests = {entry('4', "linux/amd64")};
  index.manifests[0].platform->os_features = {"unheard-of"};
  CHECK_FALSE(index.select(Platform::parse("linux/amd64"), true));
  index.manifests[0].platform->os_features.clear();
  CHECK(index.select(Platform::parse("linux/amd64"), true));
  index.manifests[0].annotations["vnd.docker.reference.type"] = "attestation-manifest";
  CHECK_FALSE(index.select(Platform::parse("linux/amd64"), true));
}
