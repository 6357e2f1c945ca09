#include "base/byte_matcher.h"

#include <doctest/doctest.h>

#include <random>

#include "base/secret_bytes.h"

using namespace imgbuild;

namespace {

/// Where patterns end, found the slow way.
std::vector<std::size_t> slow(const std::vector<std::string>& patterns, const std::string& text) {
  std::vector<std::size_t> ends;
  for (std::size_t end = 1; end <= text.size(); ++end)
    for (const auto& pattern : patterns)
      if (!pattern.empty() && end >= pattern.size() &&
          text.compare(end - pattern.size(), pattern.size(), pattern) == 0) {
        ends.push_back(end);
        break;
      }
  return ends;
}

}  // namespace

TEST_CASE("a matcher finds what a search at every place finds") {
  std::mt19937 random(7);
  const auto word = [&](std::size_t most) {
    std::string out(random() % (most + 1), ' ');
    for (auto& c : out) c = static_cast<char>('a' + random() % 3);
    return out;
  };
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> patterns;
    for (int i = 0; i < 4; ++i) patterns.push_back(word(5));
    const std::string text = word(60);
    const ByteMatcher matcher(patterns);
    std::vector<std::size_t> ends;
    auto state = ByteMatcher::kStart;
    for (std::size_t i = 0; i < text.size(); ++i) {
      state = matcher.next(state, static_cast<unsigned char>(text[i]));
      if (matcher.match(state) != ByteMatcher::kNone) ends.push_back(i + 1);
    }
    CHECK(ends == slow(patterns, text));
    auto cut = ByteMatcher::kStart;
    bool found = false;
    for (std::size_t at = 0; at < text.size() && !found; at += 3)
      found = matcher.find(cut, std::string_view(text).substr(at, 3)) != ByteMatcher::kNone;
    CHECK(found == !ends.empty());
  }
}

TEST_CASE("the longest pattern that ends somewhere is the one that is told; ignored bytes are passed over") {
  const ByteMatcher matcher({"bc", "abc"}, "\n");
  auto state = ByteMatcher::kStart;
  CHECK(matcher.find(state, "xa\nb\n") == ByteMatcher::kNone);
  CHECK(matcher.find(state, "\nc") == 1);
  state = ByteMatcher::kStart;
  CHECK(matcher.find(state, "xbc") == 0);
  CHECK(ByteMatcher({}).empty());
  CHECK(ByteMatcher({""}).empty());
}

TEST_CASE("a set too large for a table is searched all the same") {
  std::vector<std::string> patterns;
  for (int i = 0; i < 4000; ++i) patterns.push_back("pattern-" + std::to_string(i * 7919) + "-end");
  const ByteMatcher matcher(patterns);
  auto state = ByteMatcher::kStart;
  CHECK(matcher.find(state, "pattern-7919-en") == ByteMatcher::kNone);
  CHECK(matcher.find(state, "d") == 1);
}

TEST_CASE("secret bytes are a copy, and wiping leaves nothing") {
  std::string text = "a secret that is longer than what a string holds inside itself";
  const char* place = text.data();
  const std::size_t size = text.size();
  const SecretBytes bytes = SecretBytes::take(text);
  CHECK(bytes.view() == "a secret that is longer than what a string holds inside itself");
  CHECK(text.empty());
  for (std::size_t i = 0; i < size; ++i) CHECK(place[i] == '\0');  // still the string's own memory
  CHECK(SecretBytes().empty());
}
