#include "cache/http_memo.h"

#include <doctest/doctest.h>
#include <fcntl.h>

#include <filesystem>
#include <fstream>

#include "base/hash.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"

using namespace imgbuild;
using cache::HttpMemoEntry;

namespace {

struct Store {
  TempDir directory = TempDir::create("/tmp", "imgbuild-http-memo-");
  std::unique_ptr<cache::HttpMemo> memo() const { return cache::open_http_memo(directory.fd()); }
  std::filesystem::path file(const std::string& url) const {
    return std::filesystem::path("/proc/self/fd") / std::to_string(directory.fd()) / "http" /
           sha256(url).hex();
  }
};

const HttpMemoEntry kEntry{"\"abc\"", "Thu, 01 Jan 2015 12:00:00 GMT", sha256("x"), 1};

}  // namespace

TEST_CASE("what is remembered of a URL is found by the next process, and only for that URL") {
  const Store store;
  store.memo()->remember("http://a/f", kEntry);
  const auto found = store.memo()->find("http://a/f");
  REQUIRE(found);
  CHECK(found->etag == kEntry.etag);
  CHECK(found->last_modified == kEntry.last_modified);
  CHECK(found->digest == kEntry.digest);
  CHECK(found->size == 1);
  CHECK_FALSE(store.memo()->find("http://a/g"));
  store.memo()->remember("http://a/f", {"", "", sha256("y"), 2});
  CHECK(store.memo()->find("http://a/f")->digest == sha256("y"));
}

TEST_CASE("headers that could break the file's lines are not kept") {
  const Store store;
  store.memo()->remember("http://a/f", {"a\ndigest sha256:00", "", sha256("x"), 1});
  store.memo()->remember("http://a/g", {std::string(5000, 'e'), "", sha256("x"), 1});
  CHECK_FALSE(store.memo()->find("http://a/f"));
  CHECK_FALSE(store.memo()->find("http://a/g"));
}

TEST_CASE("a damaged entry is none") {
  const Store store;
  store.memo()->remember("http://a/f", kEntry);
  std::string good;
  std::getline(std::ifstream(store.file("http://a/f")), good, '\0');
  for (const std::string& bad : {std::string(), good.substr(0, good.size() - 1), "x" + good, good + "more\n",
                                 std::string(100'000, 'x')}) {
    std::ofstream(store.file("http://a/f"), std::ios::trunc) << bad;
    CHECK_FALSE(store.memo()->find("http://a/f"));
  }
  std::ofstream(store.file("http://a/f"), std::ios::trunc) << good;
  CHECK(store.memo()->find("http://a/f"));
}
