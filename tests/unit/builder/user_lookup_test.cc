#include "builder/user_lookup.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "tests/support/layer_entries.h"
#include "tests/support/tree_fakes.h"

namespace imgbuild::builder {
namespace {

using Gids = std::vector<std::uint32_t>;

tests::FakeStack with_accounts(const std::string& passwd, const std::string& group) {
  tests::FakeStack stack;
  stack.push({tests::pending(tests::dir_entry("etc")), tests::pending(tests::file_entry("etc/group"), group),
              tests::pending(tests::file_entry("etc/passwd"), passwd)});
  return stack;
}

UserIds resolve(const std::string& text, const tests::FakeStack& stack) {
  return resolve_user(text, stack.tree(), *stack.content());
}

const char* const kPasswd =
    "root:x:0:0:root:/root:/bin/sh\n"
    "# app:x:1:1::/wrong:\n"
    "broken line\n"
    "big:x:99999999999:1::/:\n"
    "minus:x:-1:-1::/:\n"
    "app:x:1234:50:App:/home/app:/bin/sh\n"
    "app:x:9:9::/second:\n"
    "77:x:78:78::/confusing:\n";
const char* const kGroup =
    "root:x:0:\nstaff:x:50:other,app\nwheel:x:10:root,app\nvideo:x:44:app,app\ndup:x:10:app\n";

TEST_CASE("USER gives ids, groups and home from the files of the image") {
  const auto stack = with_accounts(kPasswd, kGroup);
  const UserIds app = resolve("app", stack);
  CHECK(app.uid == 1234);
  CHECK(app.gid == 50);
  CHECK(app.home == "/home/app");
  CHECK(app.extra_gids == Gids{50, 10, 44});

  const UserIds by_number = resolve("1234", stack);
  CHECK(by_number.uid == 1234);
  CHECK(by_number.gid == 50);
  CHECK(by_number.extra_gids == Gids{50, 10, 44});

  const UserIds nobody = resolve("", stack);
  CHECK(nobody.uid == 0);
  CHECK(nobody.gid == 0);
  CHECK(nobody.home == "/root");
  CHECK(nobody.extra_gids == Gids{0, 10});
}

TEST_CASE("a group that is given takes the place of all groups of the user") {
  const auto stack = with_accounts(kPasswd, kGroup);
  CHECK(resolve("app:wheel", stack).gid == 10);
  CHECK(resolve("app:wheel", stack).extra_gids == Gids{10});
  CHECK(resolve("app:7", stack).extra_gids == Gids{7});
  CHECK(resolve("5:6", stack).uid == 5);
  CHECK(resolve("5:6", stack).gid == 6);
  CHECK(resolve(":staff", stack).uid == 0);
  CHECK(resolve(":staff", stack).gid == 50);
}

TEST_CASE("a number that is in no file is fine and has group 0") {
  const auto stack = with_accounts(kPasswd, kGroup);
  for (const char* text : {"12345", "4294967294"}) {
    CHECK(resolve(text, stack).gid == 0);
    CHECK(resolve(text, stack).extra_gids == Gids{0});
    CHECK(resolve(text, stack).home.empty());
  }
  CHECK(resolve("4294967294", stack).uid == 4294967294U);
  CHECK(resolve("77", stack).uid == 77);  // a number is never a name
  const tests::FakeStack empty;
  CHECK(resolve("5", empty).uid == 5);
  CHECK(resolve("root", empty).uid == 0);
  CHECK(resolve("root:root", empty).gid == 0);
}

TEST_CASE("names that are not found and numbers out of range are errors") {
  const auto stack = with_accounts(kPasswd, kGroup);
  CHECK_THROWS_WITH_AS(resolve("nouser", stack),
                       "unable to find user nouser: no matching entries in passwd file", Error);
  CHECK_THROWS_WITH_AS(resolve("root:nogrp", stack),
                       "unable to find group nogrp: no matching entries in group file", Error);
  for (const char* text : {"4294967295", "4294967296", "18446744073709551616", "99999999999999999999999",
                           "0:4294967295", "-1", "1 ", " 1", "0x1", "big", "minus", "1:2:3", "broken line"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(resolve(text, stack), Error);
  }
}

TEST_CASE("account files may be links inside the image; what is no file counts as missing") {
  tests::FakeStack stack;
  stack.push({tests::pending(tests::dir_entry("etc")),
              tests::pending(tests::symlink_entry("etc/group", "loop")),
              tests::pending(tests::symlink_entry("etc/passwd", "/../../usr/p")),
              tests::pending(tests::dir_entry("usr")),
              tests::pending(tests::file_entry("usr/p"), "app:x:3:4::/:\n")});
  CHECK(resolve("app", stack).uid == 3);
  CHECK_THROWS_AS(resolve("app:staff", stack), Error);
}

TEST_CASE("a huge line is skipped, a huge file refused") {
  const std::string line = "app:x:1:1:" + std::string(70000, 'x') + ":/:\n";
  CHECK(resolve("app", with_accounts(line + "app:x:2:2::/:\n", "")).uid == 2);
  CHECK_THROWS_AS(resolve("app", with_accounts(std::string(11 << 20, '\n'), "")), Error);
}

}  // namespace
}  // namespace imgbuild::builder
