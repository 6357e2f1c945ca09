#include "cache/cache_key.h"

#include <doctest/doctest.h>

#include "base/hash.h"

using namespace imgbuild;
using cache::CacheKeyBuilder;

TEST_CASE("the same fields give the same key") {
  const auto make = [] { return CacheKeyBuilder("step-v1").add("argv", "make").add("env", "A=1").finish(); };
  CHECK(make() == make());
  CHECK(make().fields() == std::vector<cache::KeyField>{{"argv", "make"}, {"env", "A=1"}});
}

TEST_CASE("neighbouring fields cannot run together") {
  const auto key = [](auto... parts) {
    CacheKeyBuilder builder("v1");
    const std::vector<std::string> list{parts...};
    for (std::size_t i = 0; i + 1 < list.size(); i += 2) builder.add(list[i], list[i + 1]);
    return builder.finish().digest();
  };
  CHECK(key("a", "bc") != key("ab", "c"));
  CHECK(key("a", "b", "c", "d") != key("a", "bc", "d", ""));
  CHECK(key("a", "") != key());
  CHECK(key("a", "1", "b", "2") != key("b", "2", "a", "1"));
  CHECK(key("a", std::string("\0", 1)) != key("a", ""));
}

TEST_CASE("another format version never matches") {
  CHECK(CacheKeyBuilder("step-v1").add("a", "b").finish().digest() !=
        CacheKeyBuilder("step-v2").add("a", "b").finish().digest());
  CHECK(CacheKeyBuilder("v").finish().digest() != CacheKeyBuilder("").add("v", "").finish().digest());
}

TEST_CASE("a key is the digest of the counted format, labels and values") {
  // 8-byte little-endian lengths in front of "v", "l", "x".
  const std::string bytes("\1\0\0\0\0\0\0\0v\1\0\0\0\0\0\0\0l\1\0\0\0\0\0\0\0x", 27);
  CHECK(CacheKeyBuilder("v").add("l", "x").finish().digest() == sha256(bytes));
}
