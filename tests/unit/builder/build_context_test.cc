#include "builder/build_context.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "builder/copy_engine.h"
#include "tests/support/text.h"

using namespace imgbuild;
using namespace imgbuild::builder;
using tests::mentions;
using Names = std::vector<std::string>;

namespace {

/// A memo in memory that believes everything, so that tests see what is asked of it.
class MapMemo final : public cache::StatMemo {
 public:
  std::optional<Digest> find(const cache::FileIdentity& file) const override {
    const std::lock_guard guard(mutex_);
    const auto found = known_.find({file.device, file.inode});
    if (found == known_.end() || !(found->second.first == file)) return std::nullopt;
    return found->second.second;
  }
  void remember(const cache::FileIdentity& file, const Digest& digest, const Timestamp&) override {
    const std::lock_guard guard(mutex_);
    known_.insert_or_assign({file.device, file.inode}, std::pair(file, digest));
  }
  void save() override {}

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::pair<cache::FileIdentity, Digest>> known_;
};

/// A directory on disk and contexts over it.
struct Tree {
  TempDir dir = TempDir::create("/tmp", "build-context-");
  MapMemo memo;
  ThreadPool pool{2};
  std::string path = "/tmp/" + dir.name();

  void mkdir(const std::string& name, unsigned mode = 0755) const {
    REQUIRE(::mkdirat(dir.fd(), name.c_str(), 0700) == 0);
    REQUIRE(::fchmodat(dir.fd(), name.c_str(), mode, 0) == 0);
  }
  void write(const std::string& name, std::string_view bytes = "x", unsigned mode = 0644) const {
    const UniqueFd fd = open_at(dir.fd(), name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    write_all(fd.get(), bytes);
    REQUIRE(::fchmod(fd.get(), mode) == 0);
  }
  void symlink(const std::string& target, const std::string& name) const {
    REQUIRE(::symlinkat(target.c_str(), dir.fd(), name.c_str()) == 0);
  }
  std::unique_ptr<BuildContext> open(const std::string& ignore = {}, ContextOptions options = {}) {
    auto matcher = ignore.empty()
                       ? parser::IgnoreMatcher()
                       : parser::IgnoreMatcher::parse(std::make_shared<SourceText>(".dockerignore", ignore));
    return open_build_context(path, matcher, memo, &pool, wall_clock_now, std::move(options));
  }
};

Names names(SourceTree& tree, const std::string& path) {
  Names result;
  for (const auto& [name, node] : tree.list(path)) result.push_back(name);
  return result;
}

std::string bytes_of(const oci::ContentOpener& opener, std::size_t step = 7) {
  const auto source = opener();
  std::string all;
  std::vector<char> buffer(step);
  while (const std::size_t got = source->read(buffer)) all.append(buffer.data(), got);
  return all;
}

std::string message_of(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.message();
  }
  return "no error";
}

}  // namespace

TEST_CASE("a context lists entries sorted, owned by root, with their modes and times and no xattrs") {
  Tree tree;
  tree.mkdir("b", 01755);
  tree.write("a", "hello", 04755);
  tree.write("b/c");
  tree.symlink("../outside", "z");
  const struct timespec times[2] = {{1'500'000'000, 5}, {1'500'000'000, 123}};
  REQUIRE(::utimensat(tree.dir.fd(), "a", times, 0) == 0);
  const auto context = tree.open();
  CHECK(names(*context, "") == Names{"a", "b", "z"});
  CHECK(names(*context, "b") == Names{"c"});

  const auto a = context->find("a")->attributes;
  CHECK(a.type == oci::FileType::regular);
  CHECK(a.mode == 04755);
  CHECK(a.size == 5);
  CHECK(a.uid == 0);
  CHECK(a.gid == 0);
  CHECK(a.mtime == Timestamp{1'500'000'000, 123});
  CHECK(a.xattrs.empty());
  CHECK(context->find("b")->attributes.mode == 01755);
  CHECK(context->find("b")->attributes.size == 0);
  CHECK(context->find("z")->attributes.type == oci::FileType::symlink);
  CHECK(context->find("z")->attributes.link_target == "../outside");
  CHECK(context->find("")->attributes.type == oci::FileType::directory);
  CHECK_FALSE(context->find("nothing"));
  CHECK_FALSE(context->find("a/below-a-file"));
  CHECK_FALSE(context->find(std::string(300, 'n')));
  CHECK(mentions(message_of([&] { context->list("a"); }), "not a directory"));
}

TEST_CASE("options set owner, times and git's modes") {
  Tree tree;
  tree.mkdir("d", 0700);
  tree.write("run", "x", 0711);
  tree.write("text", "x", 0600);
  tree.write("set", "x", 04711);
  tree.symlink("text", "link");
  const auto context =
      tree.open({}, {.modes = ContextModes::git, .uid = 5, .gid = 6, .mtime = Timestamp{42, 0}});
  CHECK(context->find("d")->attributes.mode == 0755);
  CHECK(context->find("run")->attributes.mode == 0755);
  CHECK(context->find("text")->attributes.mode == 0644);
  CHECK(context->find("set")->attributes.mode == 04755);
  CHECK(context->find("link")->attributes.mode == 0777);
  CHECK(context->find("text")->attributes.uid == 5);
  CHECK(context->find("text")->attributes.gid == 6);
  CHECK(context->find("text")->attributes.mtime == Timestamp{42, 0});
  CHECK(bytes_of(context->open("text")) == "x");
}

TEST_CASE("names of one inode share a link group, others have none") {
  Tree tree;
  tree.write("a");
  tree.write("alone");
  REQUIRE(::linkat(tree.dir.fd(), "a", tree.dir.fd(), "b", 0) == 0);
  const auto context = tree.open();
  CHECK(context->find("a")->link_group != 0);
  CHECK(context->find("a")->link_group == context->find("b")->link_group);
  CHECK(context->find("alone")->link_group == 0);
}

TEST_CASE("names may be any bytes") {
  Tree tree;
  for (const char* name : {"new\nline", "\xff\xfe", " ", "-rf", "a*b", "\\"}) tree.write(name, name);
  const auto context = tree.open();
  CHECK(names(*context, "") == Names{" ", "-rf", "\\", "a*b", "new\nline", "\xff\xfe"});
  for (const std::string& name : names(*context, "")) {
    CHECK(bytes_of(context->open(name)) == name);
    CHECK(context->content_digest(name) == sha256(name));
  }
}

TEST_CASE("paths that are not clean find nothing, least of all outside") {
  Tree tree;
  tree.mkdir("d");
  tree.write("f");
  const auto context = tree.open();
  for (const std::string& path :
       Names{"..", "../" + tree.dir.name(), "d/..", "d/../f", ".", "./f", "/f", "d/", "d//x"}) {
    CAPTURE(path);
    CHECK_FALSE(context->find(path));
  }
  CHECK_FALSE(context->find(std::string("f\0g", 3)));
}

TEST_CASE("links are never followed, loops are entries like any other") {
  Tree tree;
  tree.mkdir("d");
  tree.write("d/f");
  tree.symlink("loop", "loop");
  tree.symlink("d", "to-d");
  tree.symlink("/", "to-root");
  const auto context = tree.open();
  CHECK(names(*context, "") == Names{"d", "loop", "to-d", "to-root"});
  CHECK_FALSE(context->find("to-d/f"));
  CHECK_FALSE(context->find("to-root/etc"));
  CHECK_FALSE(context->find("loop/x"));
  CHECK(mentions(message_of([&] { context->list("to-root"); }), "not a directory"));
  CHECK(mentions(message_of([&] { context->open("to-d"); }), "not a regular file"));
}

TEST_CASE(
    "a socket is an empty file, a FIFO is listed and never opened, a device fails when it is selected") {
  Tree tree;
  REQUIRE(::mkfifoat(tree.dir.fd(), "fifo", 0640) == 0);
  struct sockaddr_un address {};
  address.sun_family = AF_UNIX;
  const std::string socket_path = tree.path + "/socket";
  REQUIRE(socket_path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(socket.get(), reinterpret_cast<const struct sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::chmod(socket_path.c_str(), 0751) == 0);
  const bool device = ::mknodat(tree.dir.fd(), "null", S_IFCHR | 0666, (1u << 8) | 3u) == 0;

  const auto context = tree.open();
  CHECK(context->find("fifo")->attributes.type == oci::FileType::fifo);
  CHECK(mentions(message_of([&] { context->content_digest("fifo"); }), "not a regular file"));
  CHECK(context->find("socket")->attributes.type == oci::FileType::regular);
  CHECK(context->find("socket")->attributes.mode == 0751);
  CHECK(context->find("socket")->attributes.size == 0);
  CHECK(context->content_digest("socket") == sha256({}));
  CHECK(bytes_of(context->open("socket")).empty());
  if (!device) return;  // needs the right to make one
  CHECK(context->list("").size() == 3);
  context->prefetch_digests({"null", "fifo", "socket"});
  CHECK(mentions(message_of([&] { context->content_digest("null"); }), "device node"));
  CHECK(mentions(message_of([&] { context->open("null"); }), "null"));
}

TEST_CASE("ignored files and directories are not there, and the rule is named") {
  Tree tree;
  tree.write(".dockerignore");
  tree.write("keep");
  tree.write("a.log");
  tree.mkdir("deps");
  tree.write("deps/x");
  const auto context = tree.open("# comment\n*.log\ndeps\n");
  CHECK(names(*context, "") == Names{".dockerignore", "keep"});
  CHECK_FALSE(context->find("a.log"));
  CHECK_FALSE(context->find("deps/x"));
  CHECK(context->explain_absence("a.log") == "line 2 of .dockerignore (*.log)");
  CHECK(context->explain_absence("deps/x") == "line 3 of .dockerignore (deps)");
  CHECK_FALSE(context->explain_absence("b.log"));
  CHECK_FALSE(context->explain_absence("keep"));
  CHECK(context->stats().directories_opened == 1);
}

TEST_CASE("ignored directories are not opened unless they may hold something kept") {
  Tree tree;
  for (const char* name : {"a", "a/deep", "b", "b/deep", "c", "c/deep"}) tree.mkdir(name);
  for (const char* name : {"a/deep/f", "b/deep/f", "b/deep/kept", "c/deep/f", "top"}) tree.write(name);
  SUBCASE("without negation, none") {
    const auto context = tree.open("a\nb\nc\n");
    context->prefetch("");
    CHECK(names(*context, "") == Names{"top"});
    CHECK(context->stats().directories_opened == 1);
    CHECK(context->stats().entries_listed == 1);
  }
  SUBCASE("with negation, only those on the way, and they are listed for what they hold") {
    const auto context = tree.open("*\n!b/deep/kept\n");
    CHECK(names(*context, "") == Names{"b"});
    CHECK(names(*context, "b") == Names{"deep"});
    CHECK(names(*context, "b/deep") == Names{"kept"});
    CHECK(context->find("b/deep/kept"));
    CHECK_FALSE(context->find("b/deep/f"));
    CHECK_FALSE(context->find("a"));
    CHECK(context->stats().directories_opened == 3);
  }
  SUBCASE("a directory that could hold something but does not is not there") {
    const auto context = tree.open("*\n!c/deep/missing\n");
    CHECK(names(*context, "").empty());
    CHECK_FALSE(context->find("c"));
    CHECK_FALSE(context->find("c/deep"));
  }
  SUBCASE("one file found by name lists nothing") {
    const auto context = tree.open("*\n!b/deep/kept\n");
    CHECK(context->find("b/deep/kept"));
    CHECK_FALSE(context->find("b/deep/f"));
    CHECK(context->stats().directories_opened == 0);
  }
}

TEST_CASE("an unreadable directory is an error when it is listed, none when it is ignored") {
  if (::geteuid() == 0) {
    // root reads everything: what this can show then is that the ignored one is not opened
    Tree tree;
    tree.mkdir("locked", 0000);
    const auto context = tree.open("locked\n");
    CHECK(names(*context, "").empty());
    CHECK(context->stats().directories_opened == 1);
    return;
  }
  Tree tree;
  tree.mkdir("locked", 0000);
  CHECK(tree.open("locked\n")->list("").empty());
  const auto context = tree.open();
  CHECK(names(*context, "") == Names{"locked"});
  context->prefetch("");
  CHECK(mentions(message_of([&] { context->list("locked"); }), "locked"));
}

TEST_CASE("digests are right for every size around the buffer's") {
  Tree tree;
  std::vector<std::string> paths;
  std::map<std::string, Digest> expected;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kChunkSize - 1, kChunkSize, kChunkSize + 1,
                                 3 * kChunkSize, 3 * kChunkSize + 5}) {
    std::string bytes(size, 'a');
    for (std::size_t i = 0; i < size; i += 97) bytes[i] = static_cast<char>(i);
    const std::string name = cat("f", size);
    tree.write(name, bytes);
    paths.push_back(name);
    expected.emplace(name, sha256(bytes));
  }
  const auto context = tree.open();
  SUBCASE("one by one") {}
  SUBCASE("computed before, in parallel") { context->prefetch_digests(paths); }
  for (const auto& file : expected) {
    const std::string& name = file.first;  // clang 14 captures no structured bindings
    const Digest& digest = file.second;
    CAPTURE(name);
    CHECK(context->content_digest(name) == digest);
    CHECK(sha256(bytes_of(context->open(name), 5000)) == digest);
  }
  CHECK(context->stats().digests_computed == paths.size());
}

TEST_CASE("a remembered digest is taken without opening the file") {
  Tree tree;
  tree.write("f", "content");
  CHECK(tree.open()->content_digest("f") == sha256("content"));
  const auto again = tree.open();
  CHECK(again->content_digest("f") == sha256("content"));
  again->prefetch_digests({"f"});
  CHECK(again->stats().bytes_read == 0);
  CHECK(again->stats().digests_computed == 0);
  CHECK(again->stats().digests_remembered == 1);
}

TEST_CASE("a file that was read for its bytes need not be read for its digest") {
  Tree tree;
  tree.write("f", "content");
  tree.write("g", "other");
  const auto context = tree.open();
  CHECK_FALSE(context->digest_is_known("f"));
  CHECK(bytes_of(context->open("f")) == "content");
  CHECK(context->digest_is_known("f"));
  CHECK_FALSE(context->digest_is_known("g"));
  CHECK(context->content_digest("f") == sha256("content"));
  CHECK(context->stats().bytes_read == 7);
  CHECK(context->stats().digests_computed == 1);
  // The memo learned it too.
  const auto again = tree.open();
  CHECK(again->digest_is_known("f"));
  // A file that was only begun is not known.
  char part[2];
  REQUIRE(context->open("g")()->read(part) == 2);
  CHECK_FALSE(context->digest_is_known("g"));
}

TEST_CASE("a file that is not what was listed is an error") {
  Tree tree;
  tree.write("f", "before");
  const auto context = tree.open();
  REQUIRE(context->list("").size() == 1);
  const auto opener = context->open("f");
  SUBCASE("grown") { tree.write("f", "before and after"); }
  SUBCASE("shrunk") { tree.write("f", ""); }
  SUBCASE("another file of that size") {
    tree.write("g", "behind");
    REQUIRE(::renameat(tree.dir.fd(), "g", tree.dir.fd(), "f") == 0);
  }
  SUBCASE("gone") { REQUIRE(::unlinkat(tree.dir.fd(), "f", 0) == 0); }
  SUBCASE("a link out of the context") {
    REQUIRE(::unlinkat(tree.dir.fd(), "f", 0) == 0);
    tree.symlink("/etc/passwd", "f");
  }
  SUBCASE("a FIFO") {
    REQUIRE(::unlinkat(tree.dir.fd(), "f", 0) == 0);
    REQUIRE(::mkfifoat(tree.dir.fd(), "f", 0600) == 0);
  }
  SUBCASE("a directory") {
    REQUIRE(::unlinkat(tree.dir.fd(), "f", 0) == 0);
    tree.mkdir("f");
  }
  CHECK(mentions(message_of([&] { bytes_of(opener); }), "file changed while it was read: f"));
  CHECK(mentions(message_of([&] { context->content_digest("f"); }), "file changed while it was read: f"));
}

TEST_CASE("a file that changes between two reads is an error") {
  Tree tree;
  tree.write("f", "0123456789");
  const auto context = tree.open();
  const auto source = context->open("f")();
  char buffer[4];
  REQUIRE(source->read(buffer) == 4);
  const auto rest = [&] {
    while (source->read(buffer) > 0) {
    }
  };
  SUBCASE("cut") { REQUIRE(::truncate((tree.path + "/f").c_str(), 5) == 0); }
  SUBCASE("longer") { tree.write("f", "0123456789abc"); }
  SUBCASE("overwritten") {
    const struct timespec times[2] = {{1, 0}, {1, 0}};
    tree.write("f", "9876543210");
    REQUIRE(::utimensat(tree.dir.fd(), "f", times, 0) == 0);
  }
  CHECK(mentions(message_of(rest), "file changed while it was read"));
}

TEST_CASE("a directory swapped for a link to the outside is not read through") {
  Tree tree;
  tree.mkdir("d");
  tree.write("d/passwd", "ours");
  const auto context = tree.open();
  REQUIRE(context->find("d/passwd"));
  REQUIRE(::renameat(tree.dir.fd(), "d", tree.dir.fd(), "moved") == 0);
  tree.symlink("/etc", "d");
  CHECK(mentions(message_of([&] { context->content_digest("d/passwd"); }), "file changed"));
}

TEST_CASE("names that change under the walk never make it leave the context or hang") {
  Tree tree;
  tree.mkdir("d");
  tree.write("d/f", "inside");
  std::atomic<bool> stop{false};
  std::jthread attacker([&] {
    while (!stop) {
      (void)::renameat(tree.dir.fd(), "d", tree.dir.fd(), "kept");
      (void)::symlinkat("/etc", tree.dir.fd(), "d");
      (void)::unlinkat(tree.dir.fd(), "d", 0);
      (void)::renameat(tree.dir.fd(), "kept", tree.dir.fd(), "d");
    }
  });
  for (int i = 0; i < 300; ++i) {
    const auto context = tree.open();
    try {
      // Asked first, checked then: CHECK would take the error for a failure.
      const bool left = context->find("d/passwd").has_value();
      CHECK_FALSE(left);
      for (const auto& [name, node] : context->list("d")) CHECK(name == "f");
      const std::string bytes = context->find("d/f") ? bytes_of(context->open("d/f")) : "inside";
      CHECK(bytes == "inside");
    } catch (const Error&) {
      // An error is a right answer to a tree that moves.
    }
  }
  stop = true;
}

TEST_CASE("a parallel walk finds what lists find, and later lists open nothing more") {
  Tree tree;
  for (int i = 0; i < 20; ++i) {
    tree.mkdir(cat("d", i));
    for (int j = 0; j < 10; ++j) {
      tree.mkdir(cat("d", i, "/e", j));
      tree.write(cat("d", i, "/e", j, "/f"));
    }
  }
  const auto context = tree.open();
  context->prefetch("");
  const auto opened = context->stats().directories_opened;
  CHECK(opened == 221);
  std::size_t files = 0;
  for (const std::string& d : names(*context, "")) {
    for (const std::string& e : names(*context, d)) files += context->list(d + "/" + e).size();
  }
  CHECK(files == 200);
  CHECK(context->stats().directories_opened == opened);
}

TEST_CASE("a tree deeper than the longest path the kernel takes is read and ignored alike") {
  Tree tree;
  constexpr int kDepth = 300;
  const std::string name(50, 'd');
  std::string path;
  UniqueFd at = open_at(tree.dir.fd(), ".", O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < kDepth; ++i) {
    REQUIRE(::mkdirat(at.get(), name.c_str(), 0755) == 0);
    at = open_at(at.get(), name, O_RDONLY | O_DIRECTORY);
    path += (path.empty() ? "" : "/") + name;
  }
  write_all(open_at(at.get(), "leaf", O_WRONLY | O_CREAT, 0644).get(), "deep");
  const auto context = tree.open();
  context->prefetch("");
  CHECK(context->stats().directories_opened == kDepth + 1);
  CHECK(names(*context, path) == Names{"leaf"});
  CHECK(bytes_of(context->open(path + "/leaf")) == "deep");
  const auto filtered = tree.open("*\n!**/leaf\n");
  CHECK(names(*filtered, "") == Names{name});
}

TEST_CASE("several threads may ask one context everything at once") {
  Tree tree;
  for (int i = 0; i < 50; ++i) tree.write(cat("f", i), cat(i));
  const auto context = tree.open();
  std::atomic<int> wrong{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 50; ++i) {
          if (context->content_digest(cat("f", i)) != sha256(cat(i))) ++wrong;
          if (context->list("").size() != 50) ++wrong;
        }
      });
    }
  }
  CHECK(wrong == 0);
  CHECK(context->stats().directories_opened == 1);
}

TEST_CASE("a context must be a directory") {
  Tree tree;
  tree.write("f");
  CHECK_THROWS_AS(open_build_context(tree.path + "/f", {}, tree.memo, nullptr, wall_clock_now), SystemError);
  CHECK_THROWS_AS(open_build_context(tree.path + "/none", {}, tree.memo, nullptr, wall_clock_now),
                  SystemError);
}

TEST_CASE("what is selected from a large context is kept once") {
  Tree tree;
  constexpr std::size_t kDirs = 40, kFiles = 100;
  for (std::size_t d = 0; d < kDirs; ++d) {
    tree.mkdir(cat("d", d));
    for (std::size_t f = 0; f < kFiles; ++f) tree.write(cat("d", d, "/f", f), "");
  }
  const auto context = open_build_context(tree.path, {}, tree.memo, nullptr, wall_clock_now);
  const auto in_use = [] {
    const struct mallinfo2 info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  const std::size_t before = in_use();
  const auto selection = select_sources({.sources = {"."}, .inline_files = {}, .destination = "/"}, *context);
  const std::size_t used = in_use() - before;
  CHECK(context->list("d7").begin() == context->list("d7").begin());
  // 216 bytes of each, and some for its directory. Where the allocator does not count, this is 0.
  CHECK(used / (kDirs * kFiles) < 300);
}
