#include "cli/config.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "cli/duration.h"

using namespace imgbuild;
using namespace imgbuild::cli;

TEST_CASE("a configuration sets what it says and nothing else") {
  const Config config =
      parse_config(R"({"store-limit": "20g", "min-free": 1048576, "durability": "safe"})", "c");
  CHECK(config.store_limit_bytes == std::uint64_t{20} << 30);
  CHECK(config.min_free_bytes == 1048576);
  CHECK(config.durability == "safe");
  CHECK_FALSE(parse_config("{}", "c").store_limit_bytes);
}

TEST_CASE("a wrong configuration names the file, the key and what was meant") {
  for (const char* text : {"", "[]", "{", R"({"store-limit": "much"})", R"({"store-limit": -1})",
                           R"({"durability": "sometimes"})", R"({"min-free": {}})"}) {
    CHECK_THROWS_WITH_AS(parse_config(text, "/etc/c.json"), doctest::Contains("/etc/c.json"), Error);
  }
  try {
    parse_config(R"({"store-limits": "1g"})", "c");
    FAIL("an unknown key was accepted");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::usage);
    REQUIRE(error.notes().size() == 1);
    CHECK(error.notes()[0] == "did you mean store-limit?");
  }
}

TEST_CASE("the configuration is where users expect it") {
  CHECK(config_path({{{"IMGBUILD_CONFIG", "x.json"}}}, true) == "x.json");
  CHECK(config_path({{{"HOME", "/root"}}}, true) == "/etc/imgbuild/config.json");
  CHECK(config_path({{{"HOME", "/home/u"}}}, false) == "/home/u/.config/imgbuild/config.json");
  CHECK(config_path({{{"HOME", "/home/u"}, {"XDG_CONFIG_HOME", "/c"}}}, false) == "/c/imgbuild/config.json");
  CHECK(config_path({}, false).empty());
}

TEST_CASE("until is a duration before now or a time") {
  const Timestamp now{1'000'000, 0};
  CHECK(parse_past("24h", now) == 1'000'000 - 86400);
  CHECK(parse_past("1h30m", now) == 1'000'000 - 5400);
  CHECK(parse_past("2w", now) == 1'000'000 - 1209600);
  CHECK(parse_past("12345", now) == 12345);
  CHECK(parse_past("1970-01-02", now) == 86400);
  CHECK(parse_past("1970-01-02T00:00:01Z", now) == 86401);
  for (const char* text : {"", "h", "-1h", "1y", "99999999999999999999h", "9999999999999w", "yesterday"}) {
    CHECK_THROWS_AS(parse_past(text, now), Error);
  }
}
