#include "oci/pull.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "base/strings.h"
#include "oci/media_type.h"
#include "tests/support/memory_blob_store.h"
#include "tests/support/test_registry.h"

namespace imgbuild::oci {

using tests::MemoryBlobStore;
using tests::ServerReply;
using tests::ServerRequest;
using tests::TestRegistry;

namespace {

/// An image of some layers in a test registry, `latest` being an index over two platforms.
struct Published {
  TestRegistry registry;
  std::vector<std::string> layers{"layer one", "layer two", "layer three"};
  std::string config, manifest, index;

  Published() {
    ImageConfig made;
    made.platform = Platform::parse("linux/amd64");
    for (const auto& layer : layers) made.diff_ids.push_back({sha256("tar of " + layer)});
    config = made.serialize();
    Manifest list{.media_type = std::string(kOciManifest),
                  .config = describe(std::string(kOciConfig), config)};
    for (const auto& layer : layers) list.layers.push_back(describe(std::string(kOciLayerGzip), layer));
    manifest = list.serialize();
    Descriptor amd = describe(std::string(kOciManifest), manifest);
    amd.platform = Platform::parse("linux/amd64");
    Descriptor arm = describe(std::string(kOciManifest), "not there");
    arm.platform = Platform::parse("linux/arm64");
    index = Index{.media_type = std::string(kOciIndex), .manifests = {arm, amd}}.serialize(true);
    publish();
  }
  void publish() {
    for (const auto& layer : layers) registry.put_blob(layer);
    registry.put_blob(config);
    registry.put_manifest("a/b", "single", std::string(kOciManifest), manifest);
    registry.put_manifest("a/b", "latest", std::string(kOciIndex), index);
  }
  static Descriptor describe(const std::string& type, const std::string& bytes) {
    return {.media_type = type, .digest = sha256(bytes), .size = bytes.size()};
  }
  Reference name(const std::string& rest = ":latest") {
    return Reference::parse(registry.host() + "/a/b" + rest);
  }
};

struct Puller {
  HttpClient http{{}};
  Registry registry{http, options()};
  MemoryBlobStore store;
  ImagePuller puller{registry, store};

  static RegistryOptions options() {
    RegistryOptions made;
    made.sleep = [](std::chrono::milliseconds, std::stop_token) {};
    return made;
  }
};

const Platform kAmd64 = Platform::parse("linux/amd64");

}  // namespace

TEST_CASE("resolving fetches the documents and no layer") {
  Published there;
  Puller here;
  const Image image = here.puller.resolve(there.name(), kAmd64);
  CHECK(image.manifest_bytes == there.manifest);
  CHECK(image.config_bytes == there.config);
  REQUIRE(image.layers.size() == 3);
  CHECK(image.layers[1].diff_id.value == sha256("tar of layer two"));
  CHECK(here.store.count() == 3);
  CHECK(here.store.blob(sha256(there.index)) == there.index);
  CHECK(!here.store.find_blob(sha256("layer one")));
}

TEST_CASE("a manifest without an index is resolved too, and by digest") {
  Published there;
  Puller here;
  CHECK(here.puller.resolve(there.name(":single"), kAmd64).layers.size() == 3);
  CHECK(here.puller.resolve(there.name("@" + sha256(there.index).str()), kAmd64).layers.size() == 3);
}

TEST_CASE("a second resolve asks for the tag only") {
  Published there;
  Puller here;
  (void)here.puller.resolve(there.name(), kAmd64);
  there.registry.server().forget_requests();
  (void)here.puller.resolve(there.name(), kAmd64);
  CHECK(there.registry.server().lines() == std::vector<std::string>{"HEAD /v2/a/b/manifests/latest"});
}

TEST_CASE("a platform that is not there is refused with the ones that are") {
  Published there;
  Puller here;
  try {
    (void)here.puller.resolve(there.name(), Platform::parse("linux/s390x"));
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.message().find("no match for platform") != std::string::npos);
    REQUIRE(!error.notes().empty());
    CHECK(error.notes().front().find("linux/amd64") != std::string::npos);
  }
}

TEST_CASE("layers are fetched in parallel, each once, and only those that are missing") {
  Published there;
  Puller here;
  const Image image = here.puller.resolve(there.name(), kAmd64);
  put_blob(here.store, "layer two");
  there.registry.server().forget_requests();
  here.puller.fetch_layers(image.layers);
  for (const auto& layer : there.layers) CHECK(here.store.blob(sha256(layer)) == layer);
  CHECK(there.registry.server().requests().size() == 2);
  here.puller.fetch_layers(image.layers);
  CHECK(there.registry.server().requests().size() == 2);
}

TEST_CASE("threads that want the same layer share one transfer") {
  Published there;
  Puller here;
  const Image image = here.puller.resolve(there.name(), kAmd64);
  there.registry.server().forget_requests();
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 6; ++i) threads.emplace_back([&] { here.puller.fetch_layers(image.layers); });
  }
  CHECK(there.registry.server().requests().size() == 3);
}

TEST_CASE("a layer of an unknown image is not asked for anywhere") {
  Puller here;
  const LayerBlob layer{Published::describe(std::string(kOciLayerGzip), "x"), DiffId{sha256("x")}};
  CHECK_THROWS_AS(here.puller.fetch_layers({layer}), RegistryError);
}

TEST_CASE("a layer with wrong bytes fails the fetch and is not stored (ATK-80)") {
  Published there;
  Puller here;
  const Image image = here.puller.resolve(there.name(), kAmd64);
  there.registry.plant_blob(sha256("layer two").str(), "layer 2wo");
  CHECK_THROWS_AS(here.puller.fetch_layers(image.layers), IntegrityError);
  CHECK(!here.store.find_blob(sha256("layer two")));
  there.publish();
  CHECK_NOTHROW(here.puller.fetch_layers(image.layers));
}

TEST_CASE("one failure ends the other transfers") {
  Published there;
  Puller here;
  const Image image = here.puller.resolve(there.name(), kAmd64);
  there.registry.intercept = [&](const ServerRequest& request) -> std::optional<ServerReply> {
    if (request.path.ends_with(sha256("layer two").str())) return ServerReply{.status = 404};
    return ServerReply{.body = "l", .without_length = true, .stall = true};
  };
  CHECK_THROWS_AS(here.puller.fetch_layers(image.layers), RegistryStatusError);
}

TEST_CASE("a tag that moves during a pull gives one consistent image (ATK-95)") {
  Published there;
  Puller here;
  std::atomic<int> answers{0};
  there.registry.intercept = [&](const ServerRequest& request) -> std::optional<ServerReply> {
    if (!request.path.ends_with("/manifests/latest")) return std::nullopt;
    if (++answers == 1) return std::nullopt;
    return ServerReply{.headers = {{"Content-Type", std::string(kOciManifest)}}, .body = "{}"};
  };
  CHECK(here.puller.resolve(there.name(), kAmd64).manifest_bytes == there.manifest);
}

TEST_CASE("documents that are not what the index says are refused (ATK-80)") {
  Published there;
  Puller here;
  SUBCASE("config with other bytes") {
    there.registry.plant_blob(sha256(there.config).str(), std::string(there.config.size(), ' '));
  }
  SUBCASE("manifest with other bytes") {
    there.registry.plant_manifest("a/b", sha256(there.manifest).str(), {std::string(kOciManifest), "{}"});
  }
  SUBCASE("manifest served as an index") {
    there.registry.plant_manifest("a/b", sha256(there.manifest).str(),
                                  {std::string(kOciIndex), there.manifest});
  }
  CHECK_THROWS_AS(here.puller.resolve(there.name(), kAmd64), IntegrityError);
}

TEST_CASE("indexes in indexes end somewhere (ATK-91)") {
  Published there;
  Puller here;
  std::string inner = there.index;
  for (int depth = 0; depth < 4; ++depth) {
    Descriptor entry = Published::describe(std::string(kOciIndex), inner);
    entry.platform = kAmd64;
    there.registry.put_manifest("a/b", "", std::string(kOciIndex), inner);
    inner = Index{.media_type = std::string(kOciIndex), .manifests = {entry}}.serialize(true);
    there.registry.put_manifest("a/b", cat("nested", depth), std::string(kOciIndex), inner);
  }
  CHECK(here.puller.resolve(there.name(":nested0"), kAmd64).layers.size() == 3);
  CHECK_THROWS_AS(here.puller.resolve(there.name(":nested3"), kAmd64), IntegrityError);
}

TEST_CASE("a stop request ends a pull") {
  Published there;
  Puller here;
  const Image image = here.puller.resolve(there.name(), kAmd64);
  there.registry.intercept = [](const ServerRequest&) {
    return ServerReply{.body = "l", .without_length = true, .stall = true};
  };
  std::stop_source stop;
  there.registry.server().forget_requests();
  std::jthread stopper([&] {
    while (there.registry.server().requests().empty()) std::this_thread::yield();
    stop.request_stop();
  });
  CHECK_THROWS_AS(here.puller.fetch_layers(image.layers, stop.get_token()), Cancelled);
}

}  // namespace imgbuild::oci
