#include "oci/http.h"

#include <doctest/doctest.h>

#include <thread>

#include "base/strings.h"
#include "oci/net_address.h"
#include "tests/support/http_server.h"

namespace imgbuild::oci {

using tests::HttpServer;
using tests::ServerReply;
using tests::ServerRequest;

namespace {

std::string get(HttpClient& http, const std::string& url) { return http.send({.url = url}).body; }

template <typename Work>
std::string message_of(Work work) {
  try {
    work();
  } catch (const Error& error) {
    return error.message();
  }
  return {};
}

}  // namespace

TEST_CASE("a body arrives whole, by length or by the end of the connection") {
  const std::string big(700'000, 'x');
  HttpServer server([&](const ServerRequest& request) {
    return ServerReply{.body = big, .without_length = request.path == "/open"};
  });
  HttpClient http({});
  CHECK(get(http, server.url() + "/closed") == big);
  CHECK(get(http, server.url() + "/open") == big);
  CHECK(http.send({.method = "HEAD", .url = server.url() + "/closed"}).content_length() == big.size());
}

TEST_CASE("one connection serves several requests to one server") {
  HttpServer server([](const ServerRequest&) { return ServerReply{.body = "x"}; });
  HttpClient http({});
  for (int i = 0; i < 5; ++i) CHECK(get(http, server.url()) == "x");
  CHECK(server.connections() == 1);
}

TEST_CASE("a status is an answer, its body is cut at 64 KiB") {
  HttpServer server(
      [](const ServerRequest&) { return ServerReply{.status = 404, .body = std::string(200'000, 'e')}; });
  HttpClient http({});
  const HttpResponse response = http.send({.url = server.url()});
  CHECK(response.status == 404);
  CHECK(response.body.size() == 64 * 1024);
}

TEST_CASE("a body beyond the limit is an error even when its length was a lie") {
  HttpServer server([](const ServerRequest&) {
    return ServerReply{.body = std::string(5000, 'x'), .without_length = true};
  });
  HttpClient http({});
  CHECK_THROWS_AS(http.send({.url = server.url(), .body_limit = 4999}), RegistryError);
  CHECK_NOTHROW(http.send({.url = server.url(), .body_limit = 5000}));
}

TEST_CASE("an endless header block is refused (ATK-94)") {
  HttpServer server([](const ServerRequest&) {
    ServerReply reply;
    for (int i = 0; i < 100; ++i) reply.headers.emplace_back("X-Long", std::string(1000, 'h'));
    return reply;
  });
  HttpClient http({});
  CHECK(message_of([&] { get(http, server.url()); }).find("headers are too long") != std::string::npos);
}

TEST_CASE("resets, cut bodies and dead ports are broken transfers") {
  HttpServer server([](const ServerRequest& request) {
    return ServerReply{.body = "0123456789", .cut_at = 4, .reset = request.path == "/reset"};
  });
  HttpClient http({});
  CHECK_THROWS_AS(get(http, server.url() + "/reset"), TransferError);
  CHECK_THROWS_AS(get(http, server.url() + "/cut"), TransferError);
  std::string dead;
  {
    HttpServer gone([](const ServerRequest&) { return ServerReply{}; });
    dead = gone.url();
  }
  CHECK_THROWS_AS(get(http, dead), TransferError);
}

TEST_CASE("a server that stops sending is given up (ATK-94)") {
  HttpServer server(
      [](const ServerRequest&) { return ServerReply{.body = "half", .claimed_length = 8, .stall = true}; });
  HttpClient http({.idle_timeout = std::chrono::seconds(1)});
  CHECK_THROWS_AS(get(http, server.url()), TransferError);
}

TEST_CASE("a stop request ends a stalled transfer") {
  HttpServer server(
      [](const ServerRequest&) { return ServerReply{.body = "half", .claimed_length = 8, .stall = true}; });
  HttpClient http({});
  std::stop_source stop;
  std::jthread stopper([&] {
    while (server.requests().empty()) std::this_thread::yield();
    stop.request_stop();
  });
  CHECK_THROWS_AS(http.send({.url = server.url()}, stop.get_token()), Cancelled);
}

TEST_CASE("what a sink throws comes out unchanged") {
  struct Refusing final : Sink {
    void write(std::string_view) override { throw IntegrityError("no"); }
  } sink;
  HttpServer server([](const ServerRequest&) { return ServerReply{.body = "x"}; });
  HttpClient http({});
  HttpRequest request{.url = server.url()};
  request.sink_for = [&](const HttpResponse&) { return &sink; };
  CHECK_THROWS_AS(http.send(request), IntegrityError);
}

TEST_CASE("credentials follow a redirect within the origin and nowhere else (ATK-87)") {
  HttpServer other([](const ServerRequest& request) {
    if (request.path == "/back") return ServerReply{.status = 307, .headers = {{"Location", request.query}}};
    return ServerReply{.body = "other:" + request.header("authorization") + request.header("cookie")};
  });
  HttpServer server([&](const ServerRequest& request) {
    const auto to = [](const std::string& where) {
      return ServerReply{.status = 307, .headers = {{"Location", where}}};
    };
    if (request.path == "/same") return to("/end");
    if (request.path == "/away") return to(other.url() + "/end");
    if (request.path == "/away-without-scheme") return to("//" + other.host() + "/end");
    if (request.path == "/round")
      return to(other.url() + "/back?" + "http://127.0.0.1:" + request.header("x-port") + "/end");
    return ServerReply{.body = "own:" + request.header("authorization")};
  });
  HttpClient http({});
  const auto ask = [&](const std::string& path) {
    HttpRequest request{.url = server.url() + path, .authorization = "Bearer secret"};
    request.headers.add("X-Port", std::to_string(server.port()));
    return http.send(request).body;
  };
  CHECK(ask("/end") == "own:Bearer secret");
  CHECK(ask("/same") == "own:Bearer secret");
  CHECK(ask("/away") == "other:");
  CHECK(ask("/away-without-scheme") == "other:");
  CHECK(ask("/round") == "own:");  // a server must not be able to aim our credentials
}

TEST_CASE("redirects to other schemes, with user names, or without end are refused (ATK-122)") {
  HttpServer server([](const ServerRequest& request) {
    if (request.path == "/hops") {
      const auto left = parse_decimal(request.query).value_or(0);
      if (left == 0) return ServerReply{.body = "end"};
      return ServerReply{.status = 302, .headers = {{"Location", cat("/hops?", left - 1)}}};
    }
    return ServerReply{.status = 302, .headers = {{"Location", request.query}}};
  });
  HttpClient http({});
  for (const char* target : {"file:///etc/passwd", "gopher://127.0.0.1/", "dict://127.0.0.1/",
                             "ftp://127.0.0.1/x", "http://user:secret@127.0.0.1/", "http://"}) {
    CAPTURE(target);
    CHECK_THROWS_AS(get(http, server.url() + "/to?" + target), RegistryError);
  }
  CHECK(get(http, server.url() + "/hops?5") == "end");
  CHECK_THROWS_AS(get(http, server.url() + "/hops?6"), RegistryError);
}

TEST_CASE("a POST is not silently repeated elsewhere (ATK-88)") {
  HttpServer server([](const ServerRequest& request) {
    const int status = request.path == "/see" ? 303 : 307;
    if (request.path == "/end") return ServerReply{.body = request.method + ":" + request.body};
    return ServerReply{.status = status, .headers = {{"Location", "/end"}}};
  });
  HttpClient http({});
  HttpRequest request{.method = "POST", .url = server.url() + "/keep"};
  request.body = [] { return std::make_unique<StringSource>("payload"); };
  request.body_size = 7;
  CHECK(http.send(request).body == "POST:payload");
  request.url = server.url() + "/see";
  CHECK(http.send(request).status == 303);
}

TEST_CASE("an answer that is only for public addresses cannot come from this machine (ATK-122)") {
  HttpServer server([](const ServerRequest&) { return ServerReply{.body = "inner"}; });
  HttpClient http({});
  (void)get(http, server.url());  // an open connection must not be a way around the check
  HttpRequest request{.url = server.url(), .global_addresses_only = true};
  CHECK(message_of([&] { http.send(request); }).find("not public") != std::string::npos);
  CHECK(server.requests().size() == 1);
}

TEST_CASE("headers with line breaks are not sent (ATK-90)") {
  HttpServer server([](const ServerRequest&) { return ServerReply{}; });
  HttpClient http({});
  CHECK_THROWS_AS(http.send({.url = server.url(), .authorization = "Bearer a\r\nX-Evil: 1"}), RegistryError);
  CHECK(server.requests().empty());
}

TEST_CASE("URLs are checked before anything is sent") {
  for (const char* text :
       {"", "x", "/x", "ftp://h/", "file:///x", "http://", "http://user@h/", "http://u:p@h/", "http://h/a b",
        "http://h/\n", "http://h:99999/", "https://",
        // Decoded, these would be other names, or end a line of the Host header.
        "http://h%0d%0ax/", "http://h%7Fx/", "http://h%2fx/", "http://h%20x/", "http://%h/"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(HttpUrl::parse(text), RegistryError);
  }
  const HttpUrl url = HttpUrl::parse("HTTP://Example.COM/a?sig=secret#frag");
  CHECK(url.str() == "http://example.com/a?sig=secret");
  CHECK(url.safe() == "http://example.com/a?…");
  CHECK(url.port() == "80");
  CHECK(url.resolve("../b").str() == "http://example.com/b");
  CHECK(HttpUrl::parse("https://127.1/").host() == "127.0.0.1");
  CHECK(HttpUrl::parse("http://[::1]:5000/").host() == "::1");
}

TEST_CASE("addresses are told apart by where they lead") {
  using enum AddressScope;
  for (const char* text : {"127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1"}) {
    CAPTURE(text);
    CHECK(address_scope(text) == loopback);
  }
  for (const char* text : {"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
                           "0.0.0.0", "100.64.0.1", "224.0.0.1", "255.255.255.255", "::", "fe80::1",
                           "fc00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::"}) {
    CAPTURE(text);
    CHECK(address_scope(text) == local);
  }
  for (const char* text : {"1.1.1.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8"}) {
    CAPTURE(text);
    CHECK(address_scope(text) == global);
  }
  CHECK(!address_scope("example.com"));
  CHECK(is_loopback_host("localhost:5000"));
  CHECK(is_loopback_host("127.0.0.1"));
  CHECK(is_loopback_host("[::1]:5000"));
  CHECK(!is_loopback_host("127.0.0.1.example.com"));
  CHECK(!is_loopback_host("10.0.0.1:5000"));
}

}  // namespace imgbuild::oci
