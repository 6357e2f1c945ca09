#include "base/byte_finder.h"

#include <doctest/doctest.h>

#include <random>

using namespace imgbuild;

namespace {

std::string random_text(std::mt19937& random, std::size_t size, unsigned letters) {
  std::string out;
  for (std::size_t i = 0; i < size; ++i) out += static_cast<char>('a' + random() % letters);
  return out;
}

/// Whether one ends in `text`, in chunks of this size.
bool finds(const ByteFinder& finder, std::string_view text, std::size_t chunk) {
  ByteFinder::State state;
  for (; !text.empty(); text.remove_prefix(std::min(chunk, text.size())))
    if (finder.find(state, text.substr(0, chunk)) != ByteFinder::kNone) return true;
  return false;
}

}  // namespace

TEST_CASE("patterns of all lengths are found as a plain search finds them, wherever chunks are cut") {
  std::mt19937 random(17);
  unsigned hits = 0;
  for (unsigned round = 0; round < 600; ++round) {
    const unsigned letters = 2 + round % 3;
    std::vector<std::string> patterns;
    for (unsigned i = 0; i < 1 + round % 100; ++i)
      patterns.push_back(random_text(random, 8 + random() % (i % 7 == 0 ? 90 : 6), letters));
    const ByteFinder finder(patterns);
    const std::string text = random_text(random, 300, letters);
    bool expected = false;
    for (const auto& pattern : patterns) expected = expected || text.find(pattern) != std::string::npos;
    hits += expected ? 1 : 0;
    for (std::size_t chunk : {1, 7, 64, 1000}) CHECK(finds(finder, text, chunk) == expected);
  }
  CHECK(hits > 100);
  CHECK(hits < 500);
}

TEST_CASE("the number of the pattern is told, and the search goes on behind it") {
  const ByteFinder finder({"", "ab", "abcdef", "xyz", std::string(300, 'l')});
  ByteFinder::State state;
  CHECK(finder.find(state, "..abcde") == ByteFinder::kNone);
  CHECK(finder.find(state, "f") == 2);
  CHECK(finder.find(state, "f") == ByteFinder::kNone);
  CHECK(finder.find(state, "xyz") == 3);
  CHECK(finder.find(state, std::string(299, 'l')) == ByteFinder::kNone);
  CHECK(finder.find(state, "lx") == 4);
  CHECK(ByteFinder({"", "ab"}).empty());
  CHECK_FALSE(finder.empty());
}

TEST_CASE("ignored bytes may stand anywhere, and all other bytes count") {
  const ByteFinder finder({"abcdef"}, "\r\n");
  for (std::size_t chunk : {1, 2, 100}) {
    CHECK(finds(finder, "xx\n\na\r\nb\ncd\r\r\n\nef", chunk));
    CHECK_FALSE(finds(finder, "a\nb c\ndef", chunk));
  }
  const std::string bytes("\0\xff\x80\0\0\0\xfe", 7);
  CHECK(finds(ByteFinder({bytes}), std::string(100, '\0') + bytes, 9));
  CHECK_FALSE(finds(ByteFinder({bytes}), std::string(100, '\0'), 9));
}

TEST_CASE("a pattern across the parts of one large chunk is found") {
  const std::string pattern = "0123456789abcdef";
  const ByteFinder finder({pattern}, "\n");
  for (std::size_t at : {32 * 1024 - 8, 32 * 1024, 64 * 1024 - 1, 100'000}) {
    std::string text(200'000, '.');
    text.replace(at, pattern.size(), pattern);
    CHECK(finds(finder, text, text.size()));
    CHECK(finds(finder, text, 40'000));
  }
}
