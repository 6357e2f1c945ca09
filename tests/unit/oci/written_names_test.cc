#include "oci/written_names.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "oci/layer_order.h"
#include "tests/support/layer_entries.h"

namespace imgbuild::oci {
namespace {

constexpr WrittenNames::Attributes kFile{
    .type = FileType::regular, .mode = 0644, .uid = 0, .gid = 0, .mtime = {}};
constexpr WrittenNames::Attributes kDirectory{
    .type = FileType::directory, .mode = 0755, .uid = 0, .gid = 0, .mtime = {}};

TEST_CASE("a name is there once, in whatever order names come") {
  WrittenNames names;
  CHECK(names.add("a", kDirectory));
  CHECK(names.add("a/b", kFile));
  CHECK(names.add("a-b", kFile));  // in a layer everything in a/ comes first
  CHECK_FALSE(names.add("a-b", kFile));
  CHECK(names.add("a/a", kFile));
  CHECK_FALSE(names.add("a/b", kDirectory));
  CHECK_FALSE(names.add("a", kFile));
  CHECK(names.add("z", kFile));
  CHECK(names.is_directory("a"));
  CHECK_FALSE(names.is_directory("a/b"));
  CHECK_FALSE(names.is_directory("b"));
}

TEST_CASE("what is found has the attributes it came with, before and after there is a table") {
  WrittenNames names;
  const auto with_mode = [](std::uint32_t mode) {
    auto attributes = kFile;
    attributes.mode = mode;
    return attributes;
  };
  REQUIRE(names.add("a", with_mode(1)));
  CHECK(names.find("b") == nullptr);
  REQUIRE(names.add("b", with_mode(2)));
  const auto* const first = names.find("a");
  for (int i = 0; i < 1000; ++i) REQUIRE(names.add("c" + std::to_string(i), with_mode(3)));
  REQUIRE(first != nullptr);
  CHECK(first->mode == 1);
  REQUIRE(names.find("b") != nullptr);
  CHECK(names.find("b")->mode == 2);
  REQUIRE(names.find("c999") != nullptr);
  CHECK(names.find("c999")->mode == 3);
  CHECK(names.find("c1000") == nullptr);
}

TEST_CASE("names that come in the order of a layer, or in any other, are known like those of a plain map") {
  std::mt19937 random(7);
  const auto pick = [&](int most) { return static_cast<int>(random() % static_cast<unsigned>(most)); };
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> made;
    for (int i = 0; i < 40; ++i) {
      std::string name;
      for (int depth = pick(3); depth >= 0; --depth)
        name += std::string(1, "a-b.\xc3"[pick(5)]) + (pick(2) ? "x" : "") + (depth > 0 ? "/" : "");
      made.push_back(name);
    }
    if (round % 2 == 0) {
      std::sort(made.begin(), made.end());
      made.erase(std::unique(made.begin(), made.end()), made.end());
      std::vector<PendingEntry> entries;
      for (const auto& name : made) entries.push_back({tests::file_entry(name), {}});
      entries = order_entries(std::move(entries));
      made.clear();
      for (const auto& entry : entries) made.push_back(entry.entry.path);
    }
    WrittenNames names;
    std::map<std::string, FileType> expected;
    for (const auto& name : made) {
      const auto& attributes = pick(3) == 0 ? kDirectory : kFile;
      CHECK(names.add(name, attributes) == expected.emplace(name, attributes.type).second);
      if (pick(10) == 0) CHECK((names.find(name) != nullptr && names.find(name)->type == expected[name]));
    }
    for (const auto& [name, type] : expected) {
      CHECK(names.is_directory(name) == (type == FileType::directory));
      REQUIRE(names.find(name) != nullptr);
      CHECK(names.find(name)->type == type);
    }
  }
}

}  // namespace
}  // namespace imgbuild::oci
