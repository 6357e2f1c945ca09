#include <doctest/doctest.h>

#include <random>

#include "base/error.h"
#include "builder/copy_engine.h"
#include "builder/memory_source.h"
#include "builder/stage_source.h"
#include "tests/support/tree_fakes.h"

/// Random sources, targets and requests. The tar writer behind FakeStack refuses every layer that is not in
/// order: parents missing or late, names twice, links to nothing, whiteouts out of place.

namespace imgbuild::builder {
namespace {

class Dice {
 public:
  explicit Dice(unsigned seed) : engine_(seed) {}
  unsigned roll(unsigned sides) { return static_cast<unsigned>(engine_() % sides); }
  template <typename List>
  const auto& pick(const List& list) {
    return list[roll(static_cast<unsigned>(std::size(list)))];
  }

 private:
  std::mt19937 engine_;
};

constexpr const char* kNames[] = {"a", "b", "c.txt", "d", "e-f", "A", "\xff", "z z"};
constexpr const char* kTargets[] = {"a",     "../b", "/d", "/", "..", "d/a", "nowhere", "../../../../a/b",
                                    "z z/.."};
constexpr const char* kSources[] = {".",   "a",     "d",   "*",    "a*",   "d/*",   "?",
                                    "*/*", "d/./a", "./a", "../d", "**/a", "b/../d"};
constexpr const char* kDestinations[] = {"/", "/x", "/x/", "/a", "/a/b/", "/d/.", "/d/a/b", "/c.txt/q"};
constexpr const char* kExcludes[] = {"a", "**/a", "d", "!d/a", "*", "!**/b"};

std::string random_path(Dice& dice) {
  std::string path = dice.pick(kNames);
  for (unsigned depth = dice.roll(4); depth > 0; --depth) path += std::string("/") + dice.pick(kNames);
  return path;
}

/// Adds an entry unless something else than a directory is in the way: a tree on disk has no files below
/// files.
void add_random(Dice& dice, MemorySource& tree, const std::string& path) {
  for (auto slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    const auto parent = tree.find(path.substr(0, slash));
    if (parent && parent->attributes.type != oci::FileType::directory) return;
  }
  if (tree.find(path)) return;
  SourceNode node;
  node.attributes.mode = 0600 + dice.roll(64);
  node.attributes.mtime = {1000 + dice.roll(3), 0};
  switch (dice.roll(6)) {
    case 0:
      node.attributes.type = oci::FileType::symlink;
      node.attributes.link_target = dice.pick(kTargets);
      break;
    case 1:
      node.attributes.type = oci::FileType::directory;
      break;
    case 2:
      node.attributes.type = oci::FileType::fifo;
      break;
    case 3:
      return tree.add_file(path, node.attributes, "linked", 1);
    default:
      return tree.add_file(path, node.attributes, std::string(dice.roll(3), 'x'));
  }
  tree.add(path, node);
}

CopyRequest random_request(Dice& dice) {
  CopyRequest request;
  for (unsigned count = 1 + dice.roll(3); count > 0; --count) request.sources.push_back(dice.pick(kSources));
  request.destination = dice.pick(kDestinations);
  request.parents = dice.roll(4) == 0;
  if (dice.roll(4) == 0) request.chown = "7:8";
  if (dice.roll(4) == 0) request.chmod = dice.roll(2) == 0 ? "640" : "u+x,go=rX";
  for (unsigned count = dice.roll(3); count > 0; --count) request.excludes.push_back(dice.pick(kExcludes));
  request.build_time = {1700000000, 0};
  return request;
}

TEST_CASE("random copies onto random trees make valid layers or clear errors") {
  unsigned made = 0, refused = 0;
  for (unsigned seed = 0; seed < 1500; ++seed) {
    CAPTURE(seed);
    Dice dice(seed);
    MemorySource tree;
    for (int i = 0; i < 25; ++i) add_random(dice, tree, random_path(dice));
    tests::FakeStack stack;
    for (int layer = 0; layer < 4; ++layer) {
      const CopyRequest request = random_request(dice);
      try {
        const auto from_stage = make_stage_source(stack.tree(), stack.content());
        SourceTree& source = dice.roll(4) == 0 ? *from_stage : tree;
        const auto selection = select_sources(request, source);
        cache::CacheKeyBuilder key("test");
        selection->add_to_key(key);
        const auto content = stack.content();
        stack.push(
            plan_copy(request, *selection, dice.roll(5) == 0 ? oci::FileTree() : stack.tree(), *content));
        ++made;
      } catch (const Error& error) {
        CHECK(!error.message().empty());
        CHECK(error.message().find("a layer cannot hold") == std::string::npos);
        ++refused;
      }
    }
  }
  CHECK(made > 2000);
  CHECK(refused > 100);
}

constexpr char kTypes[] = {'f', 'f', 'd', 's', 's', 'h', 'p'};

TEST_CASE("random archives stay below their destination and make valid layers") {
  unsigned made = 0;
  for (unsigned seed = 0; seed < 1000; ++seed) {
    CAPTURE(seed);
    Dice dice(seed);
    tests::FakeStack stack;
    for (int layer = 0; layer < 3; ++layer) {
      std::vector<tests::TarSpec> members;
      for (unsigned count = 1 + dice.roll(8); count > 0; --count) {
        tests::TarSpec member;
        member.path = (dice.roll(6) == 0 ? "../" : dice.roll(6) == 0 ? "/" : "") + random_path(dice);
        member.type = dice.pick(kTypes);
        member.content = "x";
        member.target = member.type == 'h' && dice.roll(3) > 0 && !members.empty() ? dice.pick(members).path
                                                                                   : dice.pick(kTargets);
        members.push_back(member);
      }
      MemorySource tree;
      tree.add_file("x.tar", {}, tests::make_archive(members));
      CopyRequest request;
      request.sources = {"x.tar"};
      request.destination = "/o/p";
      request.unpack_archives = true;
      try {
        const auto selection = select_sources(request, tree);
        const auto content = stack.content();
        stack.push(plan_copy(request, *selection, stack.tree(), *content));
        ++made;
        for (const auto& name : stack.layers().back()) CHECK((name == "/o/" || name.starts_with("/o/p/")));
      } catch (const Error& error) {
        CHECK(error.message().find("a layer cannot hold") == std::string::npos);
      }
    }
  }
  CHECK(made > 500);
}

}  // namespace
}  // namespace imgbuild::builder
