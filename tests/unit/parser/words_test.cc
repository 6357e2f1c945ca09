#include "parser/words.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "parser/duration.h"
#include "parser/mount_options.h"
#include "tests/support/text.h"

using namespace imgbuild;
using namespace imgbuild::parser;
using tests::repeated;

namespace {

std::string expand(std::string_view word, std::string value = {}) {
  return expand_word(word,
                     [&](std::string_view name) {
                       return name == "V" ? std::optional<std::string_view>(value) : std::nullopt;
                     })
      .text;
}

std::string unchanged(std::string_view value) { return std::string(value); }

}  // namespace

TEST_CASE("nesting is limited and never exhausts the stack") {
  CHECK(expand(repeated("${A:-", 32) + "x" + repeated("}", 32)) == "x");
  CHECK_THROWS_WITH_AS(expand(repeated("${A:-", 33) + repeated("}", 33)), doctest::Contains("32 deep"),
                       SyntaxError);
  CHECK_THROWS_AS(expand(repeated("${A:-", 1'000'000)), SyntaxError);
}

TEST_CASE("what expands to more than a word may hold is refused") {
  const std::string half(600'000, 'x');
  CHECK(expand("$V", half).size() == half.size());
  CHECK_THROWS_WITH_AS(expand("$V$V", half), doctest::Contains("1 MiB"), SyntaxError);
  CHECK_THROWS_AS(expand("${V//x/yyyy}", half), SyntaxError);
  CHECK_THROWS_AS(
      expand_words(repeated("$V", 1'000), [&](std::string_view) { return std::string_view(half); }),
      SyntaxError);
}

TEST_CASE("hostile patterns finish") {
  const std::string many(500'000, 'a');
  CHECK(expand("${V#" + repeated("*a", 1'000) + "b}", many) == many);
  CHECK(expand("${V//" + repeated("a*", 1'000) + "b/x}", many) == many);
  CHECK(expand("${V%%*b*}", many) == many);
  CHECK_THROWS_WITH_AS(expand("${V/" + repeated("a?", 5'000) + "b/x}", many), doctest::Contains("too long"),
                       SyntaxError);
}

TEST_CASE("bytes that are no UTF-8 survive expansion and count as one character") {
  CHECK(expand("a\xff$V\xc3", "\x80") == "a\xff\x80\xc3");
  CHECK(expand("${V#?}", "\xff\xfe") == "\xfe");
  CHECK(expand("${V%?}", "x\xe9") == "x");
  CHECK(expand("${V/\xfe/-}", "\xff\xfe") == "\xff-");
}

TEST_CASE("replacements know the whole match and no other group") {
  CHECK(expand("${V//b/<'$0'>}", "abc") == "a<b>c");
  CHECK(expand("${V//b/<'${0}${1}$x'>}", "abc") == "a<b>c");
  CHECK(expand("${V//b/'$$'}", "abc") == "a$c");
  CHECK(expand("${V//b/'${'}", "abc") == "a${c");
  CHECK(expand("${V/b/'$0'}", "abc") == "a$0c");
}

TEST_CASE("the error of a long word shows its beginning only") {
  const std::string word = "${" + std::string(100'000, 'A') + "^}";
  try {
    expand(word);
    FAIL("accepted");
  } catch (const SyntaxError& error) {
    CHECK(error.message().size() < 400);
    CHECK(error.message().ends_with("unsupported modifier (^) in substitution"));
  }
}

TEST_CASE("durations read and print as Go does") {
  CHECK(parse_go_duration("1h15m30.918s") == 4'530'918'000'000);
  CHECK(parse_go_duration(".5s") == 500'000'000);
  CHECK(parse_go_duration("1.s") == 1'000'000'000);
  CHECK(parse_go_duration("-1.5h") == -5'400'000'000'000);
  CHECK(parse_go_duration("100\u00B5s") == 100'000);
  CHECK(parse_go_duration("0.333333333333333333s") == 333'333'333);
  CHECK(parse_go_duration("9223372036854775807ns") == INT64_MAX);
  CHECK(parse_go_duration("-9223372036854775808ns") == INT64_MIN);
  for (const char* bad : {"", "-", "s", "1", "1x", ".s", "1..5s", "1s ", "9223372036854775808ns", "3000000h",
                          "99999999999999999999s", "1h1", "0x1s"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(parse_go_duration(bad), SyntaxError);
  }
  CHECK(format_go_duration(0) == "0s");
  CHECK(format_go_duration(1) == "1ns");
  CHECK(format_go_duration(1'100) == "1.1\u00B5s");
  CHECK(format_go_duration(2'200'000) == "2.2ms");
  CHECK(format_go_duration(3'300'000'000) == "3.3s");
  CHECK(format_go_duration(90'000'000'000) == "1m30s");
  CHECK(format_go_duration(3'600'000'000'000) == "1h0m0s");
  CHECK(format_go_duration(-5'400'000'000'000) == "-1h30m0s");
  CHECK(format_go_duration(INT64_MIN) == "-2562047h47m16.854775808s");
}

TEST_CASE("mount values are expanded, except from") {
  const auto upper = [](std::string_view value) {
    return value == "$T" ? std::string("cache") : std::string(value);
  };
  const MountOptions mount = parse_mount("type=$T,from=$T,target=$T", upper);
  CHECK(mount.type == MountOptions::Type::cache);
  CHECK(mount.from == "$T");
  CHECK(mount.target == "cache");
}

TEST_CASE("mount ids have the default of their type") {
  const auto id = [](const char* text) { return parse_mount(text, unchanged).effective_id(); };
  CHECK(id("type=cache,target=/a//b/") == "/a/b");
  CHECK(id("type=cache,target=/a,id=k") == "k");
  CHECK(id("type=secret,target=/run/x/tok/") == "tok");
  CHECK(id("type=secret,source=s,target=/y") == "s");
  CHECK(id("type=ssh") == "default");
}

TEST_CASE("malformed mounts are refused with their reason") {
  const auto fails = [](const char* text, const char* reason) {
    CAPTURE(text);
    CHECK_THROWS_WITH_AS(parse_mount(text, unchanged), doctest::Contains(reason), SyntaxError);
  };
  fails("", "failed to parse csv mounts: EOF");
  fails("\"type=bind", "failed to parse csv mounts");
  fails("a\"b", "bare \"");
  fails("\"a\"b", "extraneous");
  fails("type=tmpfs,target=/t,mode=0700", "mode not allowed for \"tmpfs\"");
  fails("type=ssh,source=x", "ssh does not support source");
  fails("type=cache,target=/c,uid=4294967296", "invalid value 4294967296 for uid");
  fails("type=tmpfs,target=/t,size=-1", "invalid value for size");
  fails("type=tmpfs,target=/t,size=99999p", "invalid value for size");
  CHECK(parse_mount("type=tmpfs,size=10 MiB", unchanged).size_bytes == 10u << 20);
  CHECK(mount_from("from=a,from=b,\"x=1,2\"") == "b");
  CHECK_FALSE(mount_from("\"from=a"));
  CHECK_FALSE(mount_from("type=bind"));
}
