#include "oci/reference.h"

#include <doctest/doctest.h>

#include "base/error.h"

namespace imgbuild::oci {

TEST_CASE("a registry may be a bracketed address with a port") {
  for (const char* name : {"[::1]:5000/app:v1", "[2001:DB8::a]/app:v1", "[::1]/group/app:v1"}) {
    CAPTURE(name);
    CHECK(Reference::parse(name).str() == name);
  }
}

TEST_CASE("a bracketed address holds hex digits and colons and nothing that looks like them in part") {
  using namespace std::string_view_literals;
  // "\x10" and "\x1a" differ from "0" and ":" in one bit, as "A" does from "a".
  for (const auto name : {"[::2\x10]:5000/x"sv, "[::\x1a]/x"sv, "[::g]/x"sv, "[]/x"sv, "[::1/x"sv,
                          "[::1]5000/x"sv, "[::1]:0/x"sv, "[::1]:65536/x"sv, "[::1%eth0]/x"sv, "[@]:1/x"sv}) {
    CAPTURE(name);
    CHECK_THROWS_AS(Reference::parse(name), Error);
  }
}

}  // namespace imgbuild::oci
