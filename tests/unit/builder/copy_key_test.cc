#include <doctest/doctest.h>

#include "builder/copy_engine.h"
#include "builder/memory_source.h"
#include "builder/stage_source.h"
#include "tests/support/copy_requests.h"
#include "tests/support/layer_entries.h"
#include "tests/support/tree_fakes.h"

namespace imgbuild::builder {
namespace {

using tests::plain;
using tests::request_of;

cache::CacheKey key_of(const CopyRequest& request, SourceTree& tree) {
  cache::CacheKeyBuilder key("test");
  select_sources(request, tree)->add_to_key(key);
  return key.finish();
}

/// d/f, d/s/g, a, b (like a), l -> a
void fill(MemorySource& tree) {
  tree.add_file("a", plain(), "A");
  tree.add_file("b", plain(), "A");
  tree.add_file("d/f", plain(), "F");
  tree.add_file("d/s/g", plain(), "G");
  SourceNode link;
  link.attributes.type = oci::FileType::symlink;
  link.attributes.link_target = "a";
  tree.add("d/l", link);
}

struct Sample {
  Sample() { fill(tree); }
  Digest key(const CopyRequest& request) { return key_of(request, tree).digest(); }
  MemorySource tree;
};

TEST_CASE("the key of a copy does not know times, directories of sources, or files that were not selected") {
  Sample before, after;
  after.tree.add_file("a", plain(0644, 5), "A");
  after.tree.add_file("new", plain(), "N");
  CHECK(before.key(request_of({"a"})) == after.key(request_of({"a"})));

  after.tree.add_file("other/f", plain(), "F");
  CHECK(before.key(request_of({"d/f"})) == after.key(request_of({"other/f"})));

  auto request = request_of({"d"});
  request.excludes = {"g", "s"};
  const Digest without = before.key(request);
  after.tree.add_file("d/g", plain(), "G");
  CHECK(without == after.key(request));
  CHECK(before.key(request_of({"d"})) != after.key(request_of({"d"})));
}

TEST_CASE("the key of a copy knows bytes, modes, owners, link texts, names and their order") {
  const Digest whole = Sample().key(request_of({"d"}));
  Sample bytes, mode, owner, link, name;
  bytes.tree.add_file("d/f", plain(), "f");
  mode.tree.add_file("d/f", plain(0755), "F");
  auto owned = plain();
  owned.uid = 1;
  owner.tree.add_file("d/f", owned, "F");
  SourceNode other;
  other.attributes.type = oci::FileType::symlink;
  other.attributes.link_target = "b";
  link.tree.add("d/l", other);
  name.tree.add_file("d/h", plain(), "");
  for (Sample* changed : {&bytes, &mode, &owner, &link, &name})
    CHECK(changed->key(request_of({"d"})) != whole);

  Sample sample;
  CHECK(sample.key(request_of({"a"})) != sample.key(request_of({"b"})));
  CHECK(sample.key(request_of({"a", "d/f"})) != sample.key(request_of({"d/f", "a"})));
  CHECK(sample.key(request_of({"a"})) != sample.key(request_of({"a"}, "/y/")));
  CHECK(sample.key(request_of({"a*"})) != sample.key(request_of({"a"})));
}

TEST_CASE("a wildcard's key knows what it matched, and only that") {
  Sample before, unrelated, related;
  unrelated.tree.add_file("c", plain(), "C");
  related.tree.add_file("a2", plain(), "B");
  CHECK(before.key(request_of({"a*"})) == unrelated.key(request_of({"a*"})));
  CHECK(before.key(request_of({"a*"})) != related.key(request_of({"a*"})));
}

TEST_CASE("flags join the key in their meaning, not in their spelling") {
  Sample sample;
  const auto with = [&](const std::string& chown, const std::string& chmod) {
    auto request = request_of({"a"});
    request.chown = chown;
    request.chmod = chmod;
    return sample.key(request);
  };
  CHECK(with("0:0", "") == with("root:root", ""));
  CHECK(with("0", "") == with("root", ""));
  CHECK(with("1:1", "") != with("", ""));
  CHECK(with("app", "") != with("app2", ""));
  CHECK(with("", "755") == with("", "0755"));
  CHECK(with("", "755") != with("", "700"));
  auto unpack = request_of({"a"});
  unpack.unpack_archives = true;
  CHECK(sample.key(unpack) != sample.key(request_of({"a"})));
  auto inline_file = request_of({});
  inline_file.inline_files = {{"E", "1"}};
  const Digest one = sample.key(inline_file);
  inline_file.inline_files = {{"F", "1"}};
  CHECK(one != sample.key(inline_file));
  inline_file.inline_files = {{"E", "2"}};
  CHECK(one != sample.key(inline_file));
}

TEST_CASE("few files have a field each, so that a miss can name the one that changed") {
  Sample before, after;
  after.tree.add_file("d/f", plain(), "f");
  const auto one = key_of(request_of({"d"}), before.tree).fields();
  const auto two = key_of(request_of({"d"}), after.tree).fields();
  REQUIRE(one.size() == two.size());
  std::vector<std::string> differing;
  for (std::size_t i = 0; i < one.size(); ++i) {
    if (one[i].value != two[i].value) differing.push_back(one[i].label);
  }
  CHECK(differing == std::vector<std::string>{"file d/f", "files"});
}

TEST_CASE("many files are one field") {
  MemorySource tree;
  for (int i = 0; i < 1000; ++i) tree.add_file("d/f" + std::to_string(i), plain(), "x");
  CHECK(key_of(request_of({"d"}), tree).fields().size() < 10);
}

TEST_CASE("the same files from a context and from a stage give the same files") {
  Sample sample;
  tests::FakeStack stack;
  const auto selection = select_sources(request_of({"."}, "/"), sample.tree);
  const auto nothing = stack.content();
  stack.push(plan_copy(request_of({"."}, "/"), *selection, stack.tree(), *nothing));
  const auto stage = make_stage_source(stack.tree(), stack.content());
  CHECK(key_of(request_of({"d"}), *stage).digest() == sample.key(request_of({"d"})));
}

TEST_CASE("only names in --chown need the target") {
  for (const char* text : {"", "0", "root", "1:2", "root:root", "+5", "2147483647", ":1", "1:"}) {
    CAPTURE(text);
    CHECK(!chown_needs_target(text));
  }
  for (const char* text : {"app", "1:staff", "app:1", ":staff", "app:", "-1", "2147483648", "1:2:3"}) {
    CAPTURE(text);
    CHECK(chown_needs_target(text));
  }
}

TEST_CASE("the account files of the target join the key when they are asked to") {
  const auto key_with = [](const std::string& passwd) {
    tests::FakeStack stack;
    stack.push(
        {tests::pending(tests::dir_entry("etc")), tests::pending(tests::file_entry("etc/passwd"), passwd)});
    cache::CacheKeyBuilder key("test");
    add_owner_files_to_key(key, stack.tree(), *stack.content());
    return key.finish().digest();
  };
  CHECK(key_with("app:x:1:2::/:\n") == key_with("app:x:1:2::/:\n"));
  CHECK(key_with("app:x:1:2::/:\n") != key_with("app:x:1:3::/:\n"));
  CHECK(key_with("") != key_with("app:x:1:3::/:\n"));
}

}  // namespace
}  // namespace imgbuild::builder
