#include "base/hash.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace imgbuild {
namespace {

constexpr std::uint64_t kExpected[] = {0, 1 << 20, 1 << 30};

std::string digest_of(std::string_view text, std::uint64_t expected, std::size_t piece) {
  Sha256 hash(expected);
  for (std::size_t at = 0; at < text.size(); at += piece) hash.update(text.substr(at, piece));
  return hash.finish().str();
}

TEST_CASE("SHA-256 gives the values of FIPS 180-2, whatever is expected to come") {
  const std::string million(1'000'000, 'a');
  for (const std::uint64_t expected : kExpected) {
    CAPTURE(expected);
    CHECK(digest_of("", expected, 1) ==
          "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(digest_of("abc", expected, 1) ==
          "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    for (const std::size_t piece : {1u, 63u, 64u, 1000u, 1'000'000u}) {
      CAPTURE(piece);
      CHECK(digest_of(million, expected, piece) ==
            "sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
  }
}

TEST_CASE("a SHA-256 that is moved goes on where it was") {
  for (const std::uint64_t expected : kExpected) {
    CAPTURE(expected);
    Sha256 first(expected);
    first.update("ab");
    Sha256 second(std::move(first));
    second.update("c");
    CHECK(second.finish() == sha256("abc"));
  }
}

}  // namespace
}  // namespace imgbuild
