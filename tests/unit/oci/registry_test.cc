#include "oci/registry.h"

#include <doctest/doctest.h>

#include <atomic>

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

/// A registry client that never really waits and remembers how long it would have.
struct Client {
  HttpClient http{{}};
  std::vector<std::int64_t> waits;
  Registry registry;
  explicit Client(RegistryOptions options = {}) : registry(http, with_sleep(std::move(options))) {}

  RegistryOptions with_sleep(RegistryOptions options) {
    options.sleep = [this](std::chrono::milliseconds delay, std::stop_token) {
      waits.push_back(delay.count());
    };
    return options;
  }
};

Reference name_in(TestRegistry& registry, const std::string& rest) {
  return Reference::parse(registry.host() + "/" + rest);
}

const std::string kEmptyIndex =
    R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]})";

Descriptor layer_of(const std::string& bytes) {
  return {.media_type = std::string(kOciLayerGzip), .digest = sha256(bytes), .size = bytes.size()};
}

template <typename ErrorType, typename Work>
std::string text_of(Work work) {
  try {
    work();
  } catch (const ErrorType& error) {
    return error.message();
  }
  FAIL("no error of the expected type");
  return {};
}

}  // namespace

TEST_CASE("a tag is found by HEAD and loaded by digest") {
  TestRegistry server;
  const std::string digest = server.put_manifest("a/b", "v1", std::string(kOciIndex), kEmptyIndex);
  Client client;
  const auto found = client.registry.find_manifest(name_in(server, "a/b:v1"));
  REQUIRE(found.has_value());
  CHECK(found->digest.str() == digest);
  CHECK(found->media_type == kOciIndex);
  CHECK(client.registry.load_manifest(name_in(server, "a/b:v1"), digest, found->size).bytes == kEmptyIndex);
  CHECK(server.server().lines() ==
        std::vector<std::string>{"HEAD /v2/a/b/manifests/v1", "GET /v2/a/b/manifests/" + digest});
  const std::string accept = server.server().requests().front().header("accept");
  for (const auto type : {kOciIndex, kOciManifest, kDockerList, kDockerManifest}) {
    CHECK(accept.find(type) != std::string::npos);
  }
}

TEST_CASE("what is not there is a status error with the server's words made safe") {
  TestRegistry server;
  Client client;
  try {
    (void)client.registry.find_manifest(name_in(server, "a/b:none"));
    FAIL("no error");
  } catch (const RegistryStatusError& error) {
    CHECK(error.status() == 404);
  }
  server.intercept = [](const ServerRequest&) {
    return ServerReply{.status = 400,
                       .body = R"({"errors":[{"code":"X","message":"evil \u001b[31m\nline"}]})"};
  };
  const std::string text =
      text_of<RegistryStatusError>([&] { client.registry.load_manifest(name_in(server, "a/b:x"), "x"); });
  CHECK(text.find("status 400") != std::string::npos);
  CHECK(text.find("evil") != std::string::npos);
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.find('\n') == std::string::npos);
}

TEST_CASE("a HEAD that is not allowed or tells nothing is no answer") {
  TestRegistry server;
  server.put_manifest("a/b", "v1", std::string(kOciIndex), kEmptyIndex);
  for (const int status : {403, 405, 200}) {
    server.intercept = [status](const ServerRequest& request) -> std::optional<ServerReply> {
      if (request.method != "HEAD") return std::nullopt;
      return ServerReply{.status = status};
    };
    Client client;
    CHECK(!client.registry.find_manifest(name_in(server, "a/b:v1")));
  }
  server.intercept = nullptr;
  Client client;
  CHECK(client.registry.load_manifest(name_in(server, "a/b:v1"), "v1").descriptor.digest ==
        sha256(kEmptyIndex));
}

TEST_CASE("a manifest with other bytes than its digest is refused (ATK-80)") {
  TestRegistry server;
  const std::string digest = sha256("the real one").str();
  server.plant_manifest("a/b", digest, {std::string(kOciIndex), kEmptyIndex});
  Client client;
  CHECK_THROWS_AS(client.registry.load_manifest(name_in(server, "a/b@" + digest), digest), IntegrityError);
  const std::string right = server.put_manifest("a/b", "", std::string(kOciIndex), kEmptyIndex);
  CHECK_THROWS_AS(client.registry.load_manifest(name_in(server, "a/b"), right, kEmptyIndex.size() + 1),
                  IntegrityError);
}

TEST_CASE("a digest header that disagrees with the bytes is refused (ATK-80)") {
  TestRegistry server;
  server.intercept = [](const ServerRequest&) {
    return ServerReply{.headers = {{"Content-Type", std::string(kOciIndex)},
                                   {"Docker-Content-Digest", sha256("other").str()}},
                       .body = kEmptyIndex};
  };
  Client client;
  CHECK_THROWS_AS(client.registry.load_manifest(name_in(server, "a/b:v1"), "v1"), IntegrityError);
}

TEST_CASE("media type, header and document must agree (ATK-83)") {
  TestRegistry server;
  Client client;
  const auto load = [&](const std::string& type, const std::string& bytes) {
    server.put_manifest("a/b", "t", type, bytes);
    return client.registry.load_manifest(name_in(server, "a/b:t"), "t").descriptor.media_type;
  };
  CHECK(load("application/vnd.oci.image.index.v1+json; charset=utf-8", kEmptyIndex) == kOciIndex);
  CHECK(load("application/json", kEmptyIndex) == kOciIndex);
  CHECK_THROWS_AS(load(std::string(kOciManifest), kEmptyIndex), IntegrityError);
  CHECK_THROWS_AS(load("text/html", "<html>"), IntegrityError);
  CHECK_THROWS_AS(load("application/json", R"({"schemaVersion":2})"), IntegrityError);
  CHECK_THROWS_AS(load("application/vnd.docker.distribution.manifest.v1+prettyjws", "{}"), UnsupportedError);
  CHECK_THROWS_AS(load(std::string(kOciIndex), "not json"), IntegrityError);
}

TEST_CASE("a manifest beyond 4 MiB is not read to its end (ATK-82)") {
  TestRegistry server;
  server.put_manifest("a/b", "big", std::string(kOciIndex), std::string((4u << 20) + 1, ' '));
  Client client;
  CHECK_THROWS_AS(client.registry.load_manifest(name_in(server, "a/b:big"), "big"), RegistryError);
}

TEST_CASE("a blob is streamed, verified and stored") {
  TestRegistry server;
  const std::string bytes(3'000'000, 'b');
  server.put_blob(bytes);
  server.put_blob("");
  Client client;
  MemoryBlobStore store;
  client.registry.fetch_blob(name_in(server, "a/b"), layer_of(bytes), store);
  CHECK(store.blob(sha256(bytes)) == bytes);
  client.registry.fetch_blob(name_in(server, "a/b"), layer_of(""), store);
  CHECK(store.count() == 2);
}

TEST_CASE("blobs that lie about content or size are refused and not stored (ATK-80, ATK-81)") {
  TestRegistry server;
  Client client;
  MemoryBlobStore store;
  const std::string bytes(100'000, 'b');
  const auto fetch = [&](const Descriptor& blob) {
    client.registry.fetch_blob(name_in(server, "a/b"), blob, store);
  };
  Descriptor blob = layer_of(bytes);

  server.plant_blob(blob.digest.str(), std::string(100'000, 'c'));
  CHECK_THROWS_AS(fetch(blob), IntegrityError);
  server.plant_blob(blob.digest.str(), bytes + "x");
  CHECK_THROWS_AS(fetch(blob), IntegrityError);
  server.plant_blob(blob.digest.str(), bytes.substr(1));
  CHECK_THROWS_AS(fetch(blob), IntegrityError);
  // The same without a length that tells in advance.
  for (const std::string& body : {bytes + std::string(5'000'000, 'x'), bytes.substr(1)}) {
    server.intercept = [&body](const ServerRequest&) {
      return ServerReply{.body = body, .without_length = true};
    };
    CHECK_THROWS_AS(fetch(blob), RegistryError);
  }
  blob.size = std::uint64_t{1} << 62;
  server.intercept = nullptr;
  server.plant_blob(blob.digest.str(), bytes);
  CHECK_THROWS_AS(fetch(blob), IntegrityError);
  CHECK(store.count() == 0);
}

TEST_CASE("a broken transfer is resumed where it broke") {
  TestRegistry server;
  std::string bytes(2'500'000, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 >> 3);
  server.put_blob(bytes);
  std::atomic<int> breaks{0};
  for (const bool reset : {false, true}) {
    breaks = 0;
    server.server().forget_requests();
    server.intercept = [&, reset](const ServerRequest& request) -> std::optional<ServerReply> {
      if (++breaks > 2) return std::nullopt;
      const std::string range = request.header("range");
      const auto from = range.empty() ? 0 : *parse_decimal(range.substr(6, range.size() - 7));
      ServerReply reply{.body = bytes.substr(from), .cut_at = 1'000'000, .reset = reset};
      if (!range.empty()) {
        reply.status = 206;
        reply.headers = {{"Content-Range", cat("bytes ", from, "-", bytes.size() - 1, "/", bytes.size())}};
      }
      return reply;
    };
    Client client;
    MemoryBlobStore store;
    client.registry.fetch_blob(name_in(server, "a/b"), layer_of(bytes), store);
    CHECK(store.blob(sha256(bytes)) == bytes);
    CHECK(client.waits.size() == 2);
    if (!reset) CHECK(server.server().requests().back().header("range") == "bytes=2000000-");
  }
}

TEST_CASE("a server that does not know ranges, or the wrong ones, still gives the right blob (ATK-94)") {
  TestRegistry server;
  std::string bytes(300'000, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 17 >> 2);
  for (const bool wrong_range : {false, true}) {
    std::atomic<int> calls{0};
    server.intercept = [&](const ServerRequest& request) -> std::optional<ServerReply> {
      if (++calls == 1) return ServerReply{.body = bytes, .cut_at = 100'000};
      if (!wrong_range || request.header("range").empty()) return ServerReply{.body = bytes};
      return ServerReply{
          .status = 206, .headers = {{"Content-Range", "bytes 7-299999/300000"}}, .body = bytes.substr(7)};
    };
    Client client;
    MemoryBlobStore store;
    client.registry.fetch_blob(name_in(server, "a/b"), layer_of(bytes), store);
    CHECK(store.blob(sha256(bytes)) == bytes);
  }
}

TEST_CASE("retries end") {
  TestRegistry server;
  server.intercept = [](const ServerRequest&) { return ServerReply{.body = "0123456789", .cut_at = 0}; };
  Client client;
  MemoryBlobStore store;
  CHECK_THROWS_AS(client.registry.fetch_blob(name_in(server, "a/b"), layer_of("0123456789"), store),
                  TransferError);
  CHECK(server.server().requests().size() == 5);
}

TEST_CASE("temporary failures are tried again, with growing or told delays") {
  TestRegistry server;
  server.put_manifest("a/b", "v1", std::string(kOciIndex), kEmptyIndex);
  std::atomic<int> calls{0};
  server.intercept = [&](const ServerRequest&) -> std::optional<ServerReply> {
    switch (++calls) {
      case 1:
        return ServerReply{.status = 503};
      case 2:
        return ServerReply{.status = 429, .headers = {{"Retry-After", "7"}}};
      case 3:
        return ServerReply{.status = 429,
                           .headers = {{"Date", "Thu, 01 Jan 2015 12:00:00 GMT"},
                                       {"Retry-After", "Thu, 01 Jan 2015 12:00:09 GMT"}}};
      case 4:
        return ServerReply{.status = 429, .headers = {{"Retry-After", "99999999"}}};
      default:
        return std::nullopt;
    }
  };
  Client client;
  CHECK(client.registry.load_manifest(name_in(server, "a/b:v1"), "v1").bytes == kEmptyIndex);
  REQUIRE(client.waits.size() == 4);
  CHECK(client.waits[0] >= 800);
  CHECK(client.waits[0] <= 1200);
  CHECK(client.waits[1] == 7000);
  CHECK(client.waits[2] == 9000);
  CHECK(client.waits[3] == 60'000);
  calls = -1000;
  server.intercept = [](const ServerRequest&) { return ServerReply{.status = 500}; };
  CHECK_THROWS_AS(client.registry.load_manifest(name_in(server, "a/b:v1"), "v1"), RegistryStatusError);
}

TEST_CASE("a final failure is not tried again") {
  TestRegistry server;
  Client client;
  CHECK_THROWS_AS(client.registry.load_manifest(name_in(server, "a/b:none"), "none"), RegistryStatusError);
  CHECK(client.waits.empty());
}

TEST_CASE("mirrors are asked first, and the registry when they fail") {
  TestRegistry registry;
  TestRegistry mirror;
  registry.put_manifest("a/b", "v1", std::string(kOciIndex), kEmptyIndex);
  RegistryOptions options;
  options.mirrors[registry.host()] = {mirror.host()};
  Client client(options);
  const Reference name = name_in(registry, "a/b:v1");
  CHECK(client.registry.load_manifest(name, "v1").bytes == kEmptyIndex);
  CHECK(mirror.server().requests().size() == 1);
  mirror.put_manifest("a/b", "v1", std::string(kOciIndex), kEmptyIndex);
  registry.server().forget_requests();
  CHECK(client.registry.load_manifest(name, "v1").bytes == kEmptyIndex);
  CHECK(registry.server().requests().empty());
}

TEST_CASE("a host that was declared insecure may speak http") {
  TestRegistry server;
  server.put_manifest("a/b", "v1", std::string(kOciIndex), kEmptyIndex);
  RegistryOptions options;
  options.insecure_hosts = {server.host()};
  Client client(options);
  CHECK(client.registry.load_manifest(name_in(server, "a/b:v1"), "v1").bytes == kEmptyIndex);
}

TEST_CASE("a small blob is bounded before it is asked for (ATK-82)") {
  TestRegistry server;
  server.put_blob("config");
  Client client;
  CHECK(client.registry.load_blob(name_in(server, "a/b"), layer_of("config"), 100) == "config");
  server.server().forget_requests();
  Descriptor huge = layer_of("config");
  huge.size = 101;
  CHECK_THROWS_AS(client.registry.load_blob(name_in(server, "a/b"), huge, 100), IntegrityError);
  CHECK(server.server().requests().empty());
  huge.size = 7;
  CHECK_THROWS_AS(client.registry.load_blob(name_in(server, "a/b"), huge, 100), IntegrityError);
}

}  // namespace imgbuild::oci
