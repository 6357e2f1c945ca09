#include "parser/ignore_file.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "tests/support/text.h"

using namespace imgbuild;
using namespace imgbuild::parser;
using tests::repeated;

namespace {

IgnoreMatcher matcher(std::string text) {
  return IgnoreMatcher::parse(std::make_shared<const SourceText>(".dockerignore", std::move(text)));
}

bool ignores(const char* pattern, const char* path) { return matcher(pattern).ignores(path); }

}  // namespace

TEST_CASE("a malformed pattern is reported with its line") {
  try {
    matcher("ok\n# c\n[a\n");
    FAIL("accepted");
  } catch (const SyntaxError& error) {
    REQUIRE(error.where());
    CHECK(error.where()->first_line == 3);
  }
}

TEST_CASE("patterns remember their line, and the state tells which one decided") {
  const IgnoreMatcher rules = matcher("# c\n*.o\n\n!keep.o\n");
  CHECK(rules.patterns()[1].line == 4);
  CHECK(rules.enter({}, "x.o").rule() == 0);
  CHECK(rules.enter({}, "keep.o").rule() == 1);
  CHECK_FALSE(rules.enter({}, "keep.o").ignored());
  CHECK(rules.enter({}, "x.c").rule() == -1);
}

TEST_CASE("--exclude patterns keep a leading slash, which then never matches") {
  CHECK_FALSE(IgnoreMatcher::from_patterns({"/s"}).ignores("s"));
  CHECK(IgnoreMatcher::from_patterns({"s/"}).ignores("s"));
  CHECK(IgnoreMatcher::from_patterns({"./s", "  "}).ignores("s"));
  CHECK_FALSE(IgnoreMatcher::from_patterns({"*", "!s"}).ignores("s"));
  CHECK_THROWS_AS(IgnoreMatcher::from_patterns({"[a"}), SyntaxError);
}

TEST_CASE("classes are those of a regular expression, quirks included") {
  CHECK(ignores("[[]", "["));
  CHECK(ignores("x[[:digit:]]y", "x5y"));
  CHECK_FALSE(ignores("x[[:digit:]]y", "xay"));
  CHECK(ignores("[\\d]", "7"));
  CHECK(ignores("[^a]b", "/b"));
  CHECK(ignores("[é-ü]", "ö"));
  CHECK(ignores("a[*]b", "a[^/]b"));  // by then it reads: any run of `[`, `^` and `/`, then `]b`
  CHECK_FALSE(ignores("a[*]b", "a*b"));
  CHECK_THROWS_AS(matcher("[z-a]\n"), SyntaxError);
  CHECK_THROWS_AS(matcher("[[:nope:]]\n"), SyntaxError);
  CHECK_THROWS_AS(matcher("a\\y*\n"), SyntaxError);
}

TEST_CASE("escapes that mean something to a regular expression keep that meaning") {
  CHECK(ignores("a\\sb", "a b"));
  CHECK(ignores("a\\Bb", "ab"));
  CHECK(ignores("a\\W\\bb", "a-b"));
  CHECK(ignores("\\Aab\\z", "ab"));
  CHECK(ignores("a\\tb", "a\tb"));
}

TEST_CASE("hostile patterns match in linear time") {
  const std::string path(4'000, 'a');
  CHECK_FALSE(matcher(repeated("a*", 2'000) + "b\n").ignores(path));
  CHECK_FALSE(matcher(repeated("**/a", 500) + "/b\n").ignores(repeated("a/", 400) + "c"));
  CHECK(matcher(repeated("*", 1) + repeated("?", 3'000) + "*\n").ignores(path));
  CHECK_FALSE(match_path(repeated("*a", 30) + "b", std::string(200, 'a')));
}

TEST_CASE("the number of patterns and the size of the file are limited") {
  CHECK(matcher(repeated("a\n", 10'000)).patterns().size() == 10'000);
  CHECK_THROWS_AS(matcher(repeated("a\n", 10'001)), SyntaxError);
  CHECK_THROWS_AS(matcher(repeated("# comment\n", 500'000)), SyntaxError);
}

TEST_CASE("an ignored directory is entered only if a later negation can match below it") {
  const auto enters = [](const std::string& rules, const char* directory) {
    const IgnoreMatcher m = matcher(rules);
    const auto state = m.enter({}, directory);
    CHECK(state.ignored());
    return m.may_hold_kept(state, directory);
  };
  CHECK_FALSE(enters("dir\n", "dir"));
  CHECK_FALSE(enters("!dir/x\ndir\n", "dir"));
  CHECK(enters("dir\n!dir/x\n", "dir"));
  CHECK_FALSE(enters("dir\n!dirt/x\n", "dir"));
  CHECK_FALSE(enters("*\n!other/**/x\n", "dir"));
  CHECK(enters("*\n!d*/x\n", "dir"));
  CHECK(enters("*\n!**/x\n", "dir"));
  CHECK(enters("*\n!dir/**\n", "dir"));
}

TEST_CASE("an empty matcher ignores nothing and is cheap to copy") {
  const IgnoreMatcher none;
  const IgnoreMatcher copy = none;
  CHECK(copy.empty());
  CHECK_FALSE(copy.ignores("a/b"));
  CHECK_FALSE(copy.has_negation());
}

TEST_CASE("path wildcards match as Go does") {
  CHECK(match_path("a*c", "abc"));
  CHECK(match_path("*", ""));
  CHECK_FALSE(match_path("*", "a/b"));
  CHECK(match_path("*/b", "a/b"));
  CHECK(match_path("**", "ab"));
  CHECK_FALSE(match_path("**", "a/b"));
  CHECK(match_path("?", "é"));
  CHECK_FALSE(match_path("?", "/"));
  CHECK(match_path("[a-c]x", "bx"));
  CHECK(match_path("[^a-c]x", "dx"));
  CHECK_FALSE(match_path("[^a-c]x", "bx"));
  CHECK(match_path("[\\]a]", "]"));
  CHECK(match_path("a\\*", "a*"));
  CHECK_FALSE(match_path("a\\*", "ab"));
  CHECK(match_path(".*", ".x"));
  CHECK(match_path("*.tar.*", "a.tar.b.tar.gz"));
  CHECK_FALSE(match_path("", "a"));
  CHECK(match_path("", ""));
  for (const char* bad : {"[", "[a", "[]a]", "[a-]", "[-a]", "a\\", "x[^]", "[a-z", "b[\\"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(match_path(bad, "zzz"), SyntaxError);
  }
}
