#include "builder/http_source.h"

#include <doctest/doctest.h>

#include <map>

#include "base/error.h"
#include "base/strings.h"
#include "tests/support/remote_fixture.h"

namespace imgbuild::builder {

namespace {

std::string bytes_of(const FetchedFile& file) {
  const auto source = file.open();
  return read_all(*source, 1 << 20, "download");
}

std::string error_of(const std::string& url, HttpFetchOptions options = {}) {
  oci::HttpClient http({});
  try {
    (void)fetch_http(http, url, options, {});
  } catch (const Error& error) {
    return error.message();
  }
  return {};
}

class MapMemo final : public HttpMemo {
 public:
  std::optional<HttpMemoEntry> find(const std::string& url) const override {
    const auto found = entries.find(url);
    return found == entries.end() ? std::nullopt : std::optional(found->second);
  }
  void remember(const std::string& url, const HttpMemoEntry& entry) override {
    entries.insert_or_assign(url, entry);
  }
  std::map<std::string, HttpMemoEntry> entries;
};

const std::string kHelloDigest = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

}  // namespace

TEST_CASE("the file's name comes from the URL, its time from Last-Modified") {
  const tests::RemoteFixture fixture;
  oci::HttpClient http({});
  struct Expected {
    const char* path;
    const char* name;
    const char* content;
    std::int64_t mtime;
  };
  // The expectations of RM-01 to RM-11.
  for (const Expected& one : {Expected{"/f.txt", "f.txt", "hello\n", 1420113600},
                              {"/nolm", "nolm", "nolm\n", 0},
                              {"/f.txt?x=1", "f.txt", "hello\n", 1420113600},
                              {"/f.txt#frag", "f.txt", "hello\n", 1420113600},
                              {"/cd", "cd", "cd\n", 0},
                              {"/r", "r", "hello\n", 1420113600},
                              {"/", "__unnamed__", "root\n", 1420113600},
                              {"/sub/", "sub", "sub\n", 1420113600},
                              {"", "__unnamed__", "root\n", 1420113600},
                              {"/a%20b.txt", "a b.txt", "sp\n", 1420113600}}) {
    CAPTURE(one.path);
    const FetchedFile file = fetch_http(http, fixture.url() + one.path, {}, {});
    CHECK(file.name == one.name);
    CHECK(bytes_of(file) == one.content);
    CHECK(file.mtime.seconds == one.mtime);
    CHECK(file.digest == sha256(one.content));
  }
}

TEST_CASE("failures name the status") {
  const tests::RemoteFixture fixture;
  CHECK(error_of(fixture.url() + "/404").starts_with("invalid response status 404"));
  CHECK(error_of(fixture.url() + "/e500").starts_with("invalid response status 500"));
  CHECK(error_of(fixture.url() + "/r*.txt").starts_with("invalid response status 404"));
}

TEST_CASE("a checksum decides, and a wrong one is refused before anything is asked for (ATK-125)") {
  tests::RemoteFixture fixture;
  oci::HttpClient http({});
  CHECK(bytes_of(fetch_http(http, fixture.url() + "/f.txt", {.checksum = "sha256:" + kHelloDigest}, {})) ==
        "hello\n");
  const std::string zeros(64, '0');
  CHECK(error_of(fixture.url() + "/f.txt", {.checksum = "sha256:" + zeros}) ==
        cat("digest mismatch sha256:", kHelloDigest, ": sha256:", zeros));
  CHECK(error_of(fixture.url() + "/f.txt", {.checksum = "sha512:" + zeros + zeros})
            .starts_with("digest mismatch sha512:"));
  fixture.server().forget_requests();
  CHECK(
      error_of(fixture.url() + "/f.txt", {.checksum = "md5:00"}).starts_with("unsupported digest algorithm"));
  CHECK(
      error_of(fixture.url() + "/f.txt", {.checksum = "abc"}).starts_with("invalid checksum digest format"));
  CHECK(error_of(fixture.url() + "/f.txt", {.checksum = "sha256:ABC"})
            .starts_with("invalid checksum digest format"));
  CHECK(fixture.server().requests().empty());
}

TEST_CASE("names that are no file names are refused (ATK-123)") {
  CHECK(file_name_of_url("http://h/a/b.tar.gz?x=/y") == "b.tar.gz");
  CHECK(file_name_of_url("http://h/%e2%82%ac") == "€");
  CHECK(file_name_of_url("http://h/100%") == "100%");
  for (const char* url :
       {"http://h/..%2f..%2fx", "http://h/a%00b", "http://h/a%0ab", "http://h/a%5cb", "http://h/x%2f"}) {
    CAPTURE(url);
    CHECK_THROWS_AS(file_name_of_url(url), Error);
  }
}

TEST_CASE("redirects to other schemes and cut bodies are errors (ATK-122, ATK-125)") {
  tests::HttpServer server([](const tests::ServerRequest& request) {
    if (request.path == "/cut") return tests::ServerReply{.body = "0123456789", .cut_at = 5};
    return tests::ServerReply{.status = 302, .headers = {{"Location", request.query}}};
  });
  for (const char* target : {"file:///etc/passwd", "gopher://127.0.0.1/", "dict://127.0.0.1/"}) {
    CHECK(!error_of(server.url() + "/to?" + target).empty());
  }
  CHECK(!error_of(server.url() + "/cut").empty());
  CHECK(error_of(server.url() + "/x", {.global_addresses_only = true}).find("not public") !=
        std::string::npos);
  CHECK(error_of("ftp://127.0.0.1/x").find("only http and https") != std::string::npos);
}

TEST_CASE("an unchanged file is not sent again until somebody reads it") {
  int full = 0;
  std::string content = "v1";
  tests::HttpServer server([&](const tests::ServerRequest& request) {
    if (request.header("if-none-match") == "\"v1\"") return tests::ServerReply{.status = 304};
    ++full;
    return tests::ServerReply{.headers = {{"ETag", "\"v1\""}}, .body = content};
  });
  oci::HttpClient http({});
  MapMemo memo;
  const HttpFetchOptions options{.memo = &memo};
  CHECK(bytes_of(fetch_http(http, server.url() + "/f", options, {})) == "v1");
  const FetchedFile again = fetch_http(http, server.url() + "/f", options, {});
  CHECK(full == 1);
  CHECK(again.digest == sha256("v1"));
  CHECK(again.size == 2);
  CHECK(bytes_of(again) == "v1");
  CHECK(bytes_of(again) == "v1");
  CHECK(full == 2);
  const FetchedFile stale = fetch_http(http, server.url() + "/f", options, {});
  content = "v2";
  CHECK_THROWS_AS(bytes_of(stale), IntegrityError);
}

TEST_CASE("a file beyond the limit is refused") {
  tests::HttpServer server(
      [](const tests::ServerRequest&) { return tests::ServerReply{.body = std::string(2000, 'x')}; });
  CHECK(error_of(server.url() + "/f", {.size_limit = 1999}).find("longer than 1999") != std::string::npos);
}

TEST_CASE("a compressed file stays as the server keeps it") {
  const std::string packed("\x1f\x8b\x08\0rest", 8);
  tests::HttpServer server([&](const tests::ServerRequest&) {
    return tests::ServerReply{.headers = {{"Content-Encoding", "gzip"}}, .body = packed};
  });
  oci::HttpClient http({});
  CHECK(bytes_of(fetch_http(http, server.url() + "/x.tgz", {}, {})) == packed);
}

}  // namespace imgbuild::builder
