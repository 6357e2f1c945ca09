#include "oci/registry_auth.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "base/strings.h"
#include "oci/media_type.h"
#include "oci/registry.h"
#include "tests/support/test_registry.h"

namespace imgbuild::oci {

using tests::HttpServer;
using tests::ServerReply;
using tests::ServerRequest;
using tests::TestRegistry;

namespace {

const std::string kIndex =
    R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]})";

std::string load(TestRegistry& server, RegistryOptions options = {}) {
  HttpClient http({});
  options.sleep = [](std::chrono::milliseconds, std::stop_token) {};
  Registry registry(http, std::move(options));
  return registry.load_manifest(Reference::parse(server.host() + "/a/b:v1"), "v1").bytes;
}

AuthTarget target_at(const std::string& url, bool insecure) {
  return {.registry = "registry.test",
          .url = HttpUrl::parse(url),
          .scope = "repository:a/b:pull",
          .insecure = insecure,
          .peer_address = "1.1.1.1"};
}

}  // namespace

TEST_CASE("challenges are read with odd quoting, several to a header") {
  const auto all = parse_challenges(
      {R"(Basic realm="x, y=\"z\"", Bearer realm="https://a/t" , service=s,scope="r:n:pull")",
       "Negotiate dG9rZW4=, DIGEST nonce=\"1\""});
  REQUIRE(all.size() == 4);
  CHECK(all[0].scheme == "basic");
  CHECK(all[0].parameters.at("realm") == R"(x, y="z")");
  CHECK(all[1].scheme == "bearer");
  CHECK(all[1].parameters.at("realm") == "https://a/t");
  CHECK(all[1].parameters.at("service") == "s");
  CHECK(all[1].parameters.at("scope") == "r:n:pull");
  CHECK(all[2].scheme == "negotiate");
  CHECK(all[3].scheme == "digest");
}

TEST_CASE("broken challenges end without harm (ATK-89)") {
  CHECK(parse_challenges({""}).empty());
  CHECK(parse_challenges({"=\"x\""}).empty());
  CHECK(parse_challenges({"realm=\"x\""}).empty());
  const auto open = parse_challenges({"Bearer realm=\"https://a"});
  REQUIRE(open.size() == 1);
  CHECK(open[0].parameters.empty());
  CHECK(parse_challenges({"Bearer", ",,,", "Bearer realm"}).size() == 2);
}

TEST_CASE("an anonymous token is fetched once and used for what follows") {
  TestRegistry server;
  server.require_token("t0k3n");
  const std::string digest = server.put_manifest("a/b", "v1", std::string(kOciIndex), kIndex);
  HttpClient http({});
  Registry registry(http, {});
  const Reference name = Reference::parse(server.host() + "/a/b:v1");
  CHECK(registry.find_manifest(name)->digest.str() == digest);
  CHECK(registry.load_manifest(name, digest).bytes == kIndex);
  CHECK(server.server().lines() == std::vector<std::string>{"HEAD /v2/a/b/manifests/v1", "GET /token",
                                                            "HEAD /v2/a/b/manifests/v1",
                                                            "GET /v2/a/b/manifests/" + digest});
  const ServerRequest token = server.server().requests()[1];
  CHECK(token.query == "service=test&scope=repository:a/b:pull");  // our scope, not the challenge's
  CHECK(token.header("authorization").empty());
}

TEST_CASE("threads that need the same token wait for one") {
  TestRegistry server;
  server.require_token("t");
  server.put_manifest("a/b", "v1", std::string(kOciIndex), kIndex);
  HttpClient http({});
  Registry registry(http, {});
  std::atomic<int> right{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        const Reference name = Reference::parse(server.host() + "/a/b:v1");
        if (registry.load_manifest(name, "v1").bytes == kIndex) ++right;
      });
    }
  }
  CHECK(right == 8);
  const auto lines = server.server().lines();
  CHECK(std::count(lines.begin(), lines.end(), "GET /token") == 1);
}

TEST_CASE("a token is asked for anew when its time is over") {
  TestRegistry server;
  server.require_token("t");
  server.put_manifest("a/b", "v1", std::string(kOciIndex), kIndex);
  HttpClient http({});
  auto now = std::chrono::steady_clock::time_point{};
  RegistryOptions options;
  options.auth.now = [&] { return now; };
  Registry registry(http, options);
  const Reference name = Reference::parse(server.host() + "/a/b:v1");
  const auto tokens = [&] {
    (void)registry.load_manifest(name, "v1");
    const auto lines = server.server().lines();
    return std::count(lines.begin(), lines.end(), "GET /token");
  };
  CHECK(tokens() == 1);
  now += std::chrono::seconds(260);  // 300 s of which 90 % are used
  CHECK(tokens() == 1);
  now += std::chrono::seconds(20);
  CHECK(tokens() == 2);
}

TEST_CASE("a registry that refuses every token is given up with a clear text") {
  TestRegistry server;
  server.intercept = [&](const ServerRequest& request) -> std::optional<ServerReply> {
    if (request.path == "/token") return ServerReply{.body = R"({"token":"x"})"};
    return ServerReply{
        .status = 401,
        .headers = {{"WWW-Authenticate", cat("Bearer realm=\"", server.server().url(), "/token\"")}}};
  };
  try {
    load(server);
    FAIL("no error");
  } catch (const RegistryStatusError& error) {
    CHECK(error.status() == 401);
    CHECK(error.message().find("access denied") != std::string::npos);
  }
  CHECK(server.server().requests().size() <= 6);
}

TEST_CASE("token answers that are too long, broken, or break out of a header are refused (ATK-90)") {
  for (const std::string& body :
       {std::string(2u << 20, ' '), std::string("{"), std::string("[]"), std::string("{}"),
        std::string(R"({"token":"a\r\nX-Evil: 1"})"), std::string(R"({"token":""})")}) {
    TestRegistry server;
    server.require_token("t");
    server.intercept = [&](const ServerRequest& request) -> std::optional<ServerReply> {
      if (request.path != "/token") return std::nullopt;
      return ServerReply{.body = body};
    };
    CAPTURE(body.substr(0, 40));
    CHECK_THROWS_AS(load(server), Error);
  }
}

TEST_CASE("realms that lead elsewhere than to a token server are refused (ATK-89)") {
  HttpClient http({});
  RegistryAuth auth(http, {});
  const AuthTarget target = target_at("https://registry.test/v2/", false);
  for (const char* realm : {"http://auth.test/t", "http://169.254.169.254/t", "https://127.1/t",
                            "https://localhost/t", "https://[::ffff:10.0.0.1]/t", "https://10.0.0.1/t",
                            "https://[::1]/t", "https://0/t", "https://u:p@auth.test/t", "file:///etc/passwd",
                            "gopher://x/", "", "nonsense", "https://x.localhost/t", "https://[fe80::1]/t"}) {
    CAPTURE(realm);
    std::string text;
    try {
      (void)auth.answer(target, {cat("Bearer realm=\"", realm, "\"")}, "", {});
    } catch (const RegistryError& error) {
      text = error.message();
      CHECK(dynamic_cast<const TransferError*>(&error) == nullptr);  // refused, not tried
    }
    CHECK(!text.empty());
  }
}

TEST_CASE("a plain http registry may use a token server of its own host only (ATK-89)") {
  HttpServer inner([](const ServerRequest&) { return ServerReply{.body = R"({"token":"x"})"}; });
  HttpClient http({});
  RegistryAuth auth(http, {});
  const std::string challenge = cat("Bearer realm=\"", inner.url(), "/t\"");
  CHECK(auth.answer(target_at("http://127.0.0.1:1/v2/", true), {challenge}, "", {}) == "Bearer x");
  CHECK_THROWS_AS(auth.answer(target_at("http://registry.test/v2/", true), {challenge}, "Bearer x", {}),
                  RegistryError);
  CHECK(inner.requests().size() == 1);
}

TEST_CASE("without a bearer or basic challenge, or without credentials for basic, the error says so") {
  HttpClient http({});
  RegistryAuth auth(http, {});
  const AuthTarget target = target_at("https://registry.test/v2/", false);
  CHECK_THROWS_AS(auth.answer(target, {}, "", {}), RegistryError);
  CHECK_THROWS_AS(auth.answer(target, {"Digest nonce=\"x\""}, "", {}), RegistryError);
  CHECK_THROWS_AS(auth.answer(target, {"Basic realm=\"x\""}, "", {}), RegistryError);
}

TEST_CASE("credentials are used for basic, and never unencrypted to another machine (ATK-89)") {
  HttpClient http({});
  RegistryAuthOptions options;
  options.credentials = [](const std::string&) { return RegistryCredentials{"user", "secret", ""}; };
  RegistryAuth auth(http, options);
  CHECK(auth.answer(target_at("https://registry.test/v2/", false), {"Basic realm=\"x\""}, "", {}) ==
        "Basic dXNlcjpzZWNyZXQ=");
  RegistryAuth fresh(http, options);
  CHECK_THROWS_AS(fresh.answer(target_at("http://registry.test/v2/", false), {"Basic realm=\"x\""}, "", {}),
                  RegistryError);
  CHECK_THROWS_AS(fresh.answer(target_at("https://registry.test/v2/", false), {"Basic realm=\"x\""},
                               "Basic dXNlcjpzZWNyZXQ=", {}),
                  RegistryError);
}

TEST_CASE("credentials go to the token server of the same host, by GET or as identity token by POST") {
  HttpServer tokens([](const ServerRequest&) { return ServerReply{.body = R"({"access_token":"x"})"}; });
  HttpClient http({});
  RegistryAuthOptions options;
  RegistryCredentials who{"user", "secret", ""};
  options.credentials = [&](const std::string&) { return who; };
  const AuthTarget target = target_at(tokens.url() + "/v2/", true);
  const std::string challenge = cat("Bearer realm=\"", tokens.url(), "/t\",service=\"s v\"");
  RegistryAuth by_password(http, options);
  CHECK(by_password.answer(target, {challenge}, "", {}) == "Bearer x");
  CHECK(tokens.requests().back().header("authorization") == "Basic dXNlcjpzZWNyZXQ=");
  CHECK(tokens.requests().back().query == "service=s%20v&scope=repository:a/b:pull&account=user");
  who.identity_token = "id&token";
  RegistryAuth by_identity(http, options);
  CHECK(by_identity.answer(target, {challenge}, "", {}) == "Bearer x");
  CHECK(tokens.requests().back().method == "POST");
  CHECK(tokens.requests().back().body.find("refresh_token=id%26token") != std::string::npos);
}

TEST_CASE("base64 pads") {
  CHECK(base64_encode("") == "");
  CHECK(base64_encode("a") == "YQ==");
  CHECK(base64_encode("ab") == "YWI=");
  CHECK(base64_encode("abc") == "YWJj");
  CHECK(base64_encode(std::string("\xff\x00\xfe", 3)) == "/wD+");
}

}  // namespace imgbuild::oci
