#include "builder/copy_engine.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "builder/memory_source.h"
#include "builder/stage_source.h"
#include "tests/support/copy_requests.h"
#include "tests/support/layer_entries.h"
#include "tests/support/tree_fakes.h"

namespace imgbuild::builder {
namespace {

using tests::FakeStack;
using tests::kBuildTime;
using tests::plain;
using tests::request_of;
using tests::TarSpec;
using Names = std::vector<std::string>;

SourceNode symlink(std::string target) {
  SourceNode node;
  node.attributes.type = oci::FileType::symlink;
  node.attributes.link_target = std::move(target);
  return node;
}

void apply(FakeStack& stack, SourceTree& tree, const CopyRequest& request) {
  const auto selection = select_sources(request, tree);
  const auto content = stack.content();
  stack.push(plan_copy(request, *selection, stack.tree(), *content));
}

/// ADD of one archive.
void add(FakeStack& stack, const std::string& archive, const std::string& destination) {
  MemorySource tree;
  tree.add_file("x.tar", plain(), archive);
  auto request = request_of({"x.tar"}, destination);
  request.unpack_archives = true;
  apply(stack, tree, request);
}

std::string text_at(const FakeStack& stack, const std::string& path) {
  const auto node = stack.tree().find(path);
  REQUIRE(node);
  return stack.read(*node);
}

TEST_CASE("links of the source lead nowhere out of it") {
  MemorySource tree;
  tree.add_file("etc/passwd", plain(), "inside");
  tree.add("d/up", symlink("../../../../etc"));
  tree.add("abs", symlink("/etc/passwd"));
  tree.add("loop", symlink("loop"));
  tree.add("gone", symlink("/nothing/here"));
  FakeStack stack;
  apply(stack, tree, request_of({"../../d/up/passwd", "abs", "d/up/../../etc/passwd"}, "/o/"));
  CHECK(text_at(stack, "o/passwd") == "inside");
  CHECK(text_at(stack, "o/abs") == "inside");
  CHECK_THROWS_WITH_AS(apply(stack, tree, request_of({"loop"}, "/o/")), "\"/loop\": too many links", Error);
  CHECK_THROWS_WITH_AS(apply(stack, tree, request_of({"gone"}, "/o/")), "\"/gone\": not found", Error);
}

TEST_CASE("links of the target lead nowhere out of it (ATK-126)") {
  FakeStack stack;
  stack.push({tests::pending(tests::symlink_entry("out", "/../../canary")),
              tests::pending(tests::symlink_entry("up", "../../.."))});
  MemorySource tree;
  tree.add_file("a", plain(), "A");
  apply(stack, tree, request_of({"a"}, "/out/"));
  apply(stack, tree, request_of({"a"}, "/up/b"));
  CHECK(text_at(stack, "canary/a") == "A");
  CHECK(text_at(stack, "b") == "A");
}

TEST_CASE("a name that would be a whiteout is refused wherever it comes from") {
  FakeStack stack;
  MemorySource file, directory, good;
  file.add_file("d/.wh.etc", plain(), "x");
  directory.add_file("d/.wh.etc/f", plain(), "x");
  good.add_file("a", plain(), "x");
  CHECK_THROWS_AS(apply(stack, file, request_of({"d"}, "/")), Error);
  CHECK_THROWS_AS(apply(stack, directory, request_of({"d"}, "/")), Error);
  CHECK_THROWS_AS(apply(stack, good, request_of({"a"}, "/.wh.etc")), Error);
  CHECK_THROWS_AS(apply(stack, good, request_of({"a"}, "/.wh.etc/")), Error);
}

TEST_CASE("of extended attributes copies keep the capabilities") {
  MemorySource tree;
  auto attributes = plain();
  attributes.xattrs = {{"security.capability", "cap"}, {"user.note", "n"}};
  tree.add_file("a", attributes, "A");
  FakeStack stack;
  apply(stack, tree, request_of({"a"}, "/a"));
  CHECK(stack.tree().find("a")->attributes.xattrs ==
        std::map<std::string, std::string>{{"security.capability", "cap"}});
}

TEST_CASE("a missing source names the rule that hides it") {
  class Hiding final : public SourceTree {
   public:
    std::optional<SourceNode> find(const std::string& path) override {
      if (!path.empty()) return std::nullopt;
      SourceNode root;
      root.attributes.type = oci::FileType::directory;
      return root;
    }
    SourceListing list(const std::string&) override { return {}; }
    oci::ContentOpener open(const std::string&) override { return {}; }
    Digest content_digest(const std::string&) override { return sha256(""); }
    std::optional<std::string> explain_absence(const std::string&) override {
      return "line 4 of .dockerignore";
    }
  } tree;
  for (const char* const source : {"a", "no/*.txt"}) {
    try {
      (void)select_sources(request_of({source}, "/"), tree);
      FAIL("found");
    } catch (const Error& error) {
      REQUIRE(error.notes().size() == 1);
      CHECK(error.notes()[0].find("line 4 of .dockerignore") != std::string::npos);
    }
  }
}

TEST_CASE("unchanged files stay out of the layer, changed ones bring their parents with them") {
  MemorySource tree;
  tree.add_file("d/s/a", plain(), "A");
  tree.add_file("d/s/b", plain(), "B");
  FakeStack stack;
  apply(stack, tree, request_of({"d"}, "/o"));
  apply(stack, tree, request_of({"d"}, "/o"));
  tree.add_file("d/s/b", plain(), "C");
  apply(stack, tree, request_of({"d"}, "/o"));
  CHECK(stack.layers() ==
        std::vector<Names>{{"/o/", "/o/s/", "/o/s/a", "/o/s/b"}, {}, {"/o/", "/o/s/", "/o/s/b"}});
}

TEST_CASE("an archive stays inside its destination") {
  FakeStack stack;
  add(stack,
      tests::make_archive({{.path = "../../esc", .content = "1"},
                           {.path = "/abs/./x/../y", .content = "2"},
                           {.path = "up", .type = 's', .target = "../../.."},
                           {.path = "up/in", .content = "3"},
                           {.path = "root", .type = 's', .target = "/"},
                           {.path = "root/in2", .content = "4"},
                           {.path = "h", .type = 'h', .target = "../../esc"}}),
      "/o/p");
  CHECK(stack.layers() == std::vector<Names>{{"/o/", "/o/p/", "/o/p/abs/", "/o/p/abs/y", "/o/p/esc", "/o/p/h",
                                              "/o/p/in", "/o/p/in2", "/o/p/root", "/o/p/up"}});
  CHECK(text_at(stack, "o/p/h") == "1");
  CHECK(text_at(stack, "o/p/in") == "3");
}

TEST_CASE("a link of an archive to a file of an older layer brings that file, with all its names") {
  FakeStack stack;
  stack.push({tests::pending(tests::dir_entry("d")), tests::pending(tests::file_entry("d/a"), "old"),
              tests::pending(tests::hard_link_entry("d/z", "d/a")),
              tests::pending(tests::file_entry("other"), "o")});
  add(stack, tests::make_archive({{.path = "d/new", .type = 'h', .target = "d/z"}}), "/");
  CHECK(stack.layers().back() == Names{"/d/", "/d/a", "/d/new", "/d/z"});
  for (const char* path : {"d/a", "d/new", "d/z"}) CHECK(text_at(stack, path) == "old");
  CHECK(stack.tree().find("d/a") == stack.tree().find("d/new"));
}

TEST_CASE("what an archive replaces within itself leaves nothing behind") {
  FakeStack stack;
  stack.push({tests::pending(tests::dir_entry("d")), tests::pending(tests::file_entry("d/old"), "x"),
              tests::pending(tests::dir_entry("d/s")), tests::pending(tests::file_entry("d/s/old"), "y")});
  add(stack,
      tests::make_archive({{.path = "d", .content = "file"},
                           {.path = "d", .type = 'd', .mode = 0700},
                           {.path = "d/s", .type = 'd', .mode = 0700},
                           {.path = "d/s/new", .content = "n"}}),
      "/");
  CHECK(stack.layers().back() == Names{"/d/", "/d/.wh.old", "/d/s/", "/d/s/.wh.old", "/d/s/new"});
  CHECK(!stack.tree().find("d/old"));
  CHECK(!stack.tree().find("d/s/old"));
  CHECK(stack.tree().find("d")->attributes.mode == 0700);
}

TEST_CASE("links to links, pipes and missing files in archives") {
  FakeStack stack;
  add(stack,
      tests::make_archive({{.path = "l", .type = 's', .target = "nowhere"},
                           {.path = "l2", .type = 'h', .target = "l"},
                           {.path = "p", .type = 'p'},
                           {.path = "c", .type = 'c'}}),
      "/");
  CHECK(stack.tree().find("l2")->attributes.link_target == "nowhere");
  CHECK(stack.tree().find("p")->attributes.type == oci::FileType::fifo);
  CHECK(stack.tree().find("c")->attributes.device_minor == 3);
  CHECK_THROWS_AS(add(stack, tests::make_archive({{.path = "h", .type = 'h', .target = "nope"}}), "/"),
                  Error);
  CHECK_THROWS_AS(
      add(stack, tests::make_archive({{.path = "d", .type = 'd'}, {.path = "h", .type = 'h', .target = "d"}}),
          "/"),
      Error);
  CHECK_THROWS_AS(add(stack, tests::make_archive({{.path = "l/below", .content = "x"}}), "/"), Error);
  CHECK_THROWS_AS(
      add(stack, tests::make_archive({{.path = "f", .content = "x"}, {.path = "f/below", .content = "x"}}),
          "/"),
      Error);
}

TEST_CASE("PAX archives with names outside ASCII, long names and capabilities") {
  const std::string deep = std::string(120, 'a') + "/" + std::string(120, 'b');
  FakeStack stack;
  add(stack,
      tests::make_archive(
          {{.path = "ünï/日本", .content = "u"},
           {.path = deep, .content = "deep"},
           {.path = "cap", .content = "c", .xattrs = {{"security.capability", "v"}, {"user.x", "y"}}}},
          "xz", "pax"),
      "/");
  CHECK(text_at(stack, "ünï/日本") == "u");
  CHECK(text_at(stack, deep) == "deep");
  CHECK(stack.tree().find("cap")->attributes.xattrs.size() == 1);
}

TEST_CASE("every truncation of an archive is an error or no archive, never a part of its files") {
  for (const char* const compression : {"none", "gzip", "zstd", "xz", "bzip2"}) {
    std::string content(3000, 'x');
    for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7919 >> 3);
    const std::string whole =
        tests::make_archive({{.path = "a", .content = content}, {.path = "b", .content = "b"}}, compression);
    // The last two blocks of a tar say nothing; without them it is whole.
    const std::size_t end = std::string_view(compression) == "none" ? 512 + 3072 + 1024 : whole.size() - 8;
    for (std::size_t size = 1; size < end; size += 97) {
      CAPTURE(compression);
      CAPTURE(size);
      FakeStack stack;
      bool failed = false;
      try {
        add(stack, whole.substr(0, size), "/o/");
      } catch (const Error&) {
        failed = true;
      }
      if (!failed) CHECK(stack.layers().back() == Names{"/o/", "/o/x.tar"});
    }
  }
}

TEST_CASE("WORKDIR makes what is missing and nothing else") {
  FakeStack stack;
  stack.push(
      {tests::pending(tests::dir_entry("have", 0700)), tests::pending(tests::file_entry("file"), "f")});
  const auto content = stack.content();
  CHECK(plan_workdir("/have", "5", stack.tree(), *content, kBuildTime).empty());
  CHECK(plan_workdir("/", "5", stack.tree(), *content, kBuildTime).empty());
  stack.push(plan_workdir("/have/a/b", "5", stack.tree(), *content, kBuildTime));
  CHECK(stack.layers().back() == Names{"/have/", "/have/a/", "/have/a/b/"});
  const auto made = stack.tree().find("have/a");
  CHECK(made->attributes.uid == 5);
  CHECK(made->attributes.gid == 5);
  CHECK(made->attributes.mtime == kBuildTime);
  CHECK(stack.tree().find("have")->attributes.mode == 0700);
  CHECK_THROWS_WITH_AS(plan_workdir("/file/x", "", stack.tree(), *content, kBuildTime),
                       "mkdir /file: not a directory", Error);
  CHECK_THROWS_WITH_AS(plan_workdir("/x", "app", oci::FileTree(), *content, kBuildTime),
                       "invalid user index: -1", Error);
}

}  // namespace
}  // namespace imgbuild::builder
