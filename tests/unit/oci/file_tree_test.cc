#include "oci/file_tree.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"

using namespace imgbuild;
using namespace imgbuild::oci;

namespace {

LayerEntry node(std::string path, FileType type, std::uint32_t mode) {
  LayerEntry entry;
  entry.path = std::move(path);
  entry.attributes.type = type;
  entry.attributes.mode = mode;
  return entry;
}

LayerEntry dir(std::string path, std::uint32_t mode = 0755) {
  return node(std::move(path), FileType::directory, mode);
}
LayerEntry file(std::string path, std::uint64_t size = 1) {
  auto entry = node(std::move(path), FileType::regular, 0644);
  entry.attributes.size = size;
  return entry;
}
LayerEntry symlink_to(std::string path, std::string target) {
  auto entry = node(std::move(path), FileType::symlink, 0777);
  entry.attributes.link_target = std::move(target);
  return entry;
}
LayerEntry marker(LayerEntry::Kind kind, std::string path, std::string target = {}) {
  LayerEntry entry;
  entry.kind = kind;
  entry.path = std::move(path);
  entry.hard_link_target = std::move(target);
  return entry;
}
LayerEntry gone(std::string path) { return marker(LayerEntry::Kind::whiteout, std::move(path)); }
LayerEntry opaque(std::string path) { return marker(LayerEntry::Kind::opaque, std::move(path)); }
LayerEntry hard(std::string path, std::string target) {
  return marker(LayerEntry::Kind::hard_link, std::move(path), std::move(target));
}

DiffId layer_id(int number) { return DiffId{sha256(cat("layer ", number))}; }

/// Applies layers named 0, 1, 2…
FileTree stack(const std::vector<std::vector<LayerEntry>>& layers) {
  FileTree tree;
  int number = 0;
  for (const auto& entries : layers) tree = tree.apply(LayerIndex{entries}, layer_id(number++));
  return tree;
}

/// Every path, directories with a slash, joined by blanks.
std::string names(const FileTree& tree, std::string_view from = "") {
  std::string out;
  walk(tree, from, [&](const std::string& path, const FileNodePtr& found) {
    if (!out.empty()) out += ' ';
    out += path;
    if (found->attributes.type == FileType::directory) out += '/';
    return true;
  });
  return out;
}

}  // namespace

TEST_CASE("an empty tree has a root directory and nothing else") {
  const FileTree tree;
  REQUIRE(tree.find("/"));
  CHECK(tree.find("")->attributes.type == FileType::directory);
  CHECK(tree.find("")->attributes.mode == 0755);
  CHECK_FALSE(tree.find("a"));
  CHECK(names(tree).empty());
}

TEST_CASE("a layer adds names, and the walk has them in byte order of their components") {
  const FileTree tree = stack({{dir("a"), file("a/z"), file("a-b"), dir("a/b"), file("a/b/c"), file("B")}});
  CHECK(names(tree) == "B a/ a/b/ a/b/c a/z a-b");
  CHECK(names(tree, "a") == "a/b/ a/b/c a/z");
  CHECK(names(tree, "/a/b/") == "a/b/c");
  CHECK(names(tree, "B").empty());
  CHECK(names(tree, "missing").empty());
}

TEST_CASE("a walk does not descend where it is told not to") {
  const FileTree tree = stack({{dir("a"), file("a/b"), file("c")}});
  std::string seen;
  walk(tree, "", [&](const std::string& path, const FileNodePtr&) {
    seen += path + ' ';
    return false;
  });
  CHECK(seen == "a c ");
}

TEST_CASE("a file knows which layer holds its bytes") {
  const FileTree tree = stack({{file("a"), file("b")}, {file("b", 7)}});
  CHECK(tree.find("a")->origin->layer == layer_id(0));
  CHECK(tree.find("b")->origin->layer == layer_id(1));
  CHECK(tree.find("b")->origin->path == "b");
  CHECK(tree.find("b")->attributes.size == 7);
}

TEST_CASE("applying a layer changes the new tree only and shares what it did not touch") {
  const FileTree before = stack({{dir("a"), file("a/x"), dir("b"), file("b/y")}});
  const FileTree after = before.apply(LayerIndex{{file("a/z"), gone("a/x")}}, layer_id(1));
  CHECK(names(before) == "a/ a/x b/ b/y");
  CHECK(names(after) == "a/ a/z b/ b/y");
  CHECK(before.find("b") == after.find("b"));
  CHECK(before.find("a") != after.find("a"));
}

TEST_CASE("a directory entry over a directory changes attributes and keeps the children") {
  const FileTree tree = stack({{dir("a"), file("a/x")}, {dir("a", 0700)}});
  CHECK(names(tree) == "a/ a/x");
  CHECK(tree.find("a")->attributes.mode == 0700);
}

TEST_CASE("parents a layer does not mention keep their attributes or become 0755") {
  const FileTree tree = stack({{dir("a", 0700)}, {file("a/b/c")}});
  CHECK(tree.find("a")->attributes.mode == 0700);
  CHECK(tree.find("a/b")->attributes.mode == 0755);
}

TEST_CASE("an entry of another type replaces what was there") {
  CHECK(names(stack({{dir("a"), file("a/x")}, {file("a")}})) == "a");
  CHECK(names(stack({{dir("a"), file("a/x")}, {symlink_to("a", "b")}})) == "a");
  CHECK(names(stack({{file("a")}, {dir("a"), file("a/x")}})) == "a/ a/x");
  CHECK(names(stack({{symlink_to("a", "b"), dir("b")}, {file("a/x")}})) == "a/ a/x b/");
}

TEST_CASE("a whiteout hides a lower name, with all that is below it") {
  CHECK(names(stack({{dir("a"), file("a/x"), file("b")}, {gone("a")}})) == "b");
  CHECK(names(stack({{dir("a"), file("a/x"), file("a/y")}, {gone("a/y")}})) == "a/ a/x");
}

TEST_CASE("a whiteout leaves the entries of its own layer, wherever it stands") {
  CHECK(names(stack({{file("a", 1)}, {gone("a"), file("a", 2)}})) == "a");
  CHECK(stack({{file("a", 1)}, {file("a", 2), gone("a")}}).find("a")->attributes.size == 2);
}

TEST_CASE("a whiteout of a parent makes that directory start anew") {
  const std::vector<LayerEntry> lower = {dir("a", 0700), file("a/old"), dir("a/b"), file("a/b/old")};
  CHECK(names(stack({lower, {gone("a"), file("a/new")}})) == "a/ a/new");
  CHECK(names(stack({lower, {file("a/b/new"), gone("a")}})) == "a/ a/b/ a/b/new");
  CHECK(stack({lower, {gone("a"), file("a/new")}}).find("a")->attributes.mode == 0755);
}

TEST_CASE("an opaque marker hides the lower content of its directory, wherever it stands") {
  const std::vector<LayerEntry> lower = {dir("a", 0700), file("a/old"), file("b")};
  CHECK(names(stack({lower, {dir("a"), opaque("a"), file("a/new")}})) == "a/ a/new b");
  CHECK(names(stack({lower, {file("a/new"), opaque("a")}})) == "a/ a/new b");
  CHECK(stack({lower, {opaque("a")}}).find("a")->attributes.mode == 0700);
  CHECK(names(stack({lower, {opaque("new")}})) == "a/ a/old b new/");
}

TEST_CASE("a whiteout of something that is not there hides nothing") {
  CHECK(names(stack({{file("a")}, {gone("x"), gone("a/b/c")}})).find("x") == std::string::npos);
  CHECK(names(stack({{file("a"), dir("d")}, {gone("d/x")}})) == "a d/");
}

TEST_CASE("all names of a hard link are one node with a link group") {
  const FileTree tree =
      stack({{file("a"), hard("b", "a"), hard("c", "b"), file("d"), hard("e", "d"), file("f")}});
  CHECK(tree.find("a") == tree.find("b"));
  CHECK(tree.find("a") == tree.find("c"));
  CHECK(tree.find("a")->link_group != 0);
  CHECK(tree.find("d")->link_group != tree.find("a")->link_group);
  CHECK(tree.find("f")->link_group == 0);

  const FileTree next = tree.apply(LayerIndex{{file("g"), hard("h", "g")}}, layer_id(1));
  CHECK(next.find("g")->link_group != next.find("a")->link_group);
  CHECK(next.find("g")->link_group != next.find("d")->link_group);
}

TEST_CASE("a hard link keeps the old bytes when its target is replaced later in the layer") {
  const FileTree tree = stack({{file("a", 1), hard("b", "a"), file("a", 2)}});
  CHECK(tree.find("a")->attributes.size == 2);
  CHECK(tree.find("b")->attributes.size == 1);
}

TEST_CASE("a hard link to something that is no earlier file of the layer is refused") {
  CHECK_THROWS_AS((void)stack({{hard("b", "a")}}), IntegrityError);
  CHECK_THROWS_AS((void)stack({{hard("b", "a"), file("a")}}), IntegrityError);
  CHECK_THROWS_AS((void)stack({{dir("a"), hard("b", "a")}}), IntegrityError);
  CHECK_THROWS_AS((void)stack({{file("a")}, {hard("b", "a")}}), IntegrityError);
}

TEST_CASE("an entry for the root changes nothing") {
  CHECK(stack({{dir("", 0700), file("a")}}).root()->attributes.mode == 0755);
}

TEST_CASE("a path resolves through links as in a chroot") {
  const FileTree tree =
      stack({{dir("usr"), dir("usr/bin"), file("usr/bin/sh"), symlink_to("bin", "usr/bin"),
              symlink_to("up", "../../.."), symlink_to("abs", "/usr"), symlink_to("chain", "abs/bin"),
              symlink_to("nowhere", "/none/x"), symlink_to("loop", "loop")}});
  const auto where = [&](std::string_view path, bool follow = true) {
    return tree.resolve(path, follow).path;
  };
  CHECK(where("") == "");
  CHECK(where("/bin/sh") == "usr/bin/sh");
  CHECK(tree.resolve("bin/sh").node == tree.find("usr/bin/sh"));
  CHECK(where("chain/./sh") == "usr/bin/sh");
  CHECK(where("up/bin") == "usr/bin");
  CHECK(where("bin/../../..") == "");
  CHECK(where("bin/..") == "usr");
  CHECK(where("bin", false) == "bin");
  CHECK(where("bin/", false) == "usr/bin");
  CHECK(where("chain", false) == "chain");
  CHECK(where("abs/bin", false) == "usr/bin");
  CHECK(where("nowhere") == "none/x");
  CHECK_FALSE(tree.resolve("nowhere").node);
  CHECK(where("new/a/../b") == "new/b");
  CHECK(where("new/../../../bin/x") == "usr/bin/x");
  CHECK(where("usr/bin/sh/below") == "usr/bin/sh/below");
  CHECK_FALSE(tree.resolve("usr/bin/sh/below").node);
  CHECK_THROWS_WITH_AS((void)tree.resolve("loop"), "too many links while resolving loop", Error);
  CHECK(where("loop", false) == "loop");
}

TEST_CASE("255 links are followed and 256 are too many") {
  const auto chain_of = [](int links) {
    std::vector<LayerEntry> entries = {file("l0")};
    for (int i = 1; i <= links; ++i) entries.push_back(symlink_to(cat("l", i), cat("l", i - 1)));
    return stack({entries}).resolve(cat("l", links)).path;
  };
  CHECK(chain_of(255) == "l0");
  CHECK_THROWS_AS((void)chain_of(256), Error);
}

TEST_CASE("names are bytes") {
  const FileTree tree = stack({{file("\xff\n"), file("a b")}});
  CHECK(tree.find("\xff\n"));
  CHECK(tree.find("a b"));
}
