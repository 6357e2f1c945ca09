#include "oci/xattrs.h"

#include <doctest/doctest.h>

using imgbuild::oci::Xattrs;

TEST_CASE("extended attributes are a value") {
  Xattrs a = {{"user.b", "2"}, {"user.a", "1"}};
  const Xattrs b = a;
  CHECK(a == b);
  CHECK(b.begin()->first == "user.a");
  CHECK(b.last_name() == "user.b");
  CHECK(b.at("user.b") == "2");
  CHECK(b.find("user.c") == b.end());
  a.add("user.c", "3");
  a.add("user.a", "another");
  CHECK(a == Xattrs::Map{{"user.a", "1"}, {"user.b", "2"}, {"user.c", "3"}});
  CHECK(b.size() == 2);
  const Xattrs moved = std::move(a);
  CHECK(moved.size() == 3);
}

TEST_CASE("no extended attributes are equal, however they came to be none") {
  Xattrs none, erased = {{"user.a", "1"}};
  erased.erase_if([](const auto& attribute) { return attribute.first == "user.a"; });
  CHECK(erased.empty());
  CHECK(erased == none);
  CHECK(Xattrs(Xattrs::Map()).empty());
  CHECK(none.begin() == none.end());
  CHECK(none.size() == 0);
  none.add("user.b", "");
  CHECK_FALSE(none == erased);
  none = erased;
  CHECK(none.empty());
  CHECK(sizeof(Xattrs) == sizeof(void*));
}
