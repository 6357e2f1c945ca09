#include "cache/key_difference.h"

#include <doctest/doctest.h>

using namespace imgbuild;
using Fields = std::vector<cache::KeyField>;
using Lines = std::vector<std::string>;

namespace {

Lines differences(const Fields& before, const Fields& now) {
  Lines lines;
  for (const auto& change : cache::find_changes(before, now)) lines.push_back(cache::describe(change));
  return lines;
}

}  // namespace

TEST_CASE("equal inputs have no difference") {
  CHECK(differences({{"argv", "make"}}, {{"argv", "make"}}).empty());
  CHECK(differences({}, {}).empty());
}

TEST_CASE("each changed, new and gone field gets a line") {
  const Fields before{{"argv", "make"}, {"user", "app"}, {"workdir", "/"}};
  const Fields now{{"argv", "make all"}, {"workdir", "/"}, {"shm-size", "64"}};
  CHECK(differences(before, now) ==
        Lines{R"(argv: "make" became "make all")", R"(shm-size: new, "64")", R"(user: gone, was "app")"});
}

TEST_CASE("a value put between others is one difference, not many") {
  const Fields before{{"env", "A=1"}, {"env", "C=3"}, {"env", "D=4"}};
  const Fields now{{"env", "A=1"}, {"env", "B=2"}, {"env", "C=3"}, {"env", "D=4"}};
  CHECK(differences(before, now) == Lines{R"(env: new, "B=2")"});
}

TEST_CASE("a changed order is said to be one") {
  CHECK(differences({{"env", "A=1"}, {"env", "B=2"}}, {{"env", "B=2"}, {"env", "A=1"}}) ==
        Lines{"env: the same values in another order"});
  CHECK(differences({{"a", "1"}, {"b", "2"}}, {{"b", "2"}, {"a", "1"}}) ==
        Lines{"the same fields in another order"});
}

TEST_CASE("a repeated value is counted") {
  CHECK(differences({{"x", "1"}}, {{"x", "1"}, {"x", "1"}}) == Lines{R"(x: new, "1")"});
  CHECK(differences({{"x", "1"}, {"x", "1"}, {"x", "2"}}, {{"x", "1"}, {"x", "2"}}) ==
        Lines{R"(x: gone, was "1")"});
}

TEST_CASE("digests are shortened and control characters made visible") {
  const std::string old_digest = "sha256:" + std::string(64, 'a');
  const std::string new_digest = "sha256:" + std::string(64, 'b');
  CHECK(differences({{"file a", old_digest}}, {{"file a", new_digest}}) ==
        Lines{"file a: sha256:aaaaaaaaaaaa became sha256:bbbbbbbbbbbb"});
  CHECK(differences({}, {{"argv", "a\x1b[2J\nb"}}) == Lines{R"(argv: new, "a\x1b[2J\nb")"});
}

TEST_CASE("long values are cut to where they differ") {
  const std::string head(500, 'x');
  const auto lines = differences({{"argv", head + "old" + head}}, {{"argv", head + "new" + head}});
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find("old") != std::string::npos);
  CHECK(lines[0].find("new") != std::string::npos);
  CHECK(lines[0].size() < 250);
}
