#include "builder/upper_walk.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "builder/tree_stamps.h"
#include "tests/support/layer_entries.h"
#include "tests/support/requires.h"

using namespace imgbuild;
using namespace imgbuild::builder;

namespace {

using Lines = std::vector<std::string>;

constexpr std::int64_t kTime = 1'600'000'000;

/// Directories to be read as an upper directory of the user flavour, where marks are ordinary attributes, and
/// the layer below it.
class Trees {
 public:
  Trees()
      : upper_(TempDir::create("/var/tmp", "imgbuild-walk-upper-")),
        lower_(TempDir::create("/var/tmp", "imgbuild-walk-lower-")) {}

  std::string at(const std::string& path) const { return cat("/proc/self/fd/", upper_.fd(), "/", path); }
  int upper() const { return upper_.fd(); }
  std::shared_ptr<const RootDir> root() const {
    return std::make_shared<const RootDir>(open_at(upper_.fd(), ".", O_RDONLY | O_DIRECTORY));
  }

  void make_dir(const std::string& path) const { REQUIRE(::mkdir(at(path).c_str(), 0755) == 0); }
  void make_file(const std::string& path, const std::string& text = {}) const {
    write_all(open_path(at(path), O_WRONLY | O_CREAT | O_EXCL, 0644).get(), text);
    const timespec times[] = {{kTime, 0}, {kTime, 0}};
    REQUIRE(::utimensat(AT_FDCWD, at(path).c_str(), times, 0) == 0);
  }
  void make_whiteout(const std::string& path) const {
    REQUIRE(::mknod(at(path).c_str(), S_IFCHR, makedev(0, 0)) == 0);
  }
  void mark(const std::string& path, const char* attribute, const std::string& value = "y") const {
    REQUIRE(::setxattr(at(path).c_str(), attribute, value.data(), value.size(), 0) == 0);
  }

  void lower_dir(const std::string& path) { index_.entries.push_back(tests::dir_entry(path)); }
  void lower_file(const std::string& path, const std::string& text = {}) {
    auto entry = tests::file_entry(path, text.size());
    entry.attributes.mtime = {kTime, 0};
    index_.entries.push_back(entry);
    std::string flat = path;
    std::replace(flat.begin(), flat.end(), '/', '+');
    if (!text.empty()) write_all(open_at(lower_.fd(), flat, O_WRONLY | O_CREAT, 0644).get(), text);
  }

  oci::FileTree tree() const { return oci::FileTree().apply(index_, oci::DiffId{sha256("layer")}); }

  DiffOptions options(ThreadPool* pool = nullptr) const {
    DiffOptions out;
    out.flavour = oci::OverlayFlavour::user;
    out.open_lower = [this](const oci::ContentOrigin& origin) {
      ++compared;
      std::string flat = origin.path;
      std::replace(flat.begin(), flat.end(), '/', '+');
      return open_at(lower_.fd(), flat, O_RDONLY);
    };
    out.pool = pool;
    return out;
  }

  mutable std::atomic<int> compared{0};

 private:
  TempDir upper_, lower_;
  oci::LayerIndex index_;
};

/// A large directory, a deep one and many small ones, with everything in them that means something.
void fill(Trees& trees) {
  trees.lower_dir("a-large");
  trees.make_dir("a-large");
  for (int i = 0; i < 1500; ++i) {
    const std::string path = cat("a-large/", i, i % 3 == 0 ? "-name-that-is-longer-than-some" : "");
    const std::string text = cat("content ", i);
    trees.make_file(path, text);
    if (i % 2 == 0) trees.lower_file(path, i % 4 == 0 ? text : cat("content_", i));
    if (i % 7 == 0) trees.mark(path, "user.note", cat(i));
  }
  std::string deep = "b-deep";
  for (int i = 0; i < 60; ++i, deep += "/x") {
    trees.lower_dir(deep);
    trees.lower_file(deep + "/gone");
    trees.make_dir(deep);
    trees.make_whiteout(deep + "/gone");
    trees.make_whiteout(deep + "/never-there");
    trees.make_file(deep + "/zero");
    REQUIRE(::symlink(cat("target of ", i).c_str(), trees.at(deep + "/link").c_str()) == 0);
  }
  trees.lower_dir("c-small");
  trees.make_dir("c-small");
  for (int i = 0; i < 400; ++i) {
    const std::string dir = cat("c-small/", i);
    trees.lower_dir(dir);
    trees.lower_file(dir + "/hidden");
    trees.make_dir(dir);
    if (i % 3 == 0) trees.mark(dir, "user.overlay.opaque");
    if (i % 5 == 0) trees.make_whiteout(dir + "/hidden");
    if (i % 5 == 1) trees.make_file(dir + "/hidden");
    if (i % 10 == 2) REQUIRE(::mkfifo(trees.at(dir + "/pipe").c_str(), 0600) == 0);
    if (i % 10 == 3) REQUIRE(::mknod(trees.at(dir + "/socket").c_str(), S_IFSOCK | 0600, 0) == 0);
    if (i % 10 == 4) {
      const std::string first =
          trees.at(cat("a-large/", 2 * i + 1, (2 * i + 1) % 3 == 0 ? "-name-that-is-longer-than-some" : ""));
      REQUIRE(::link(first.c_str(), trees.at(dir + "/other-name").c_str()) == 0);
    }
  }
}

Lines describe(const UpperWalk& walk) {
  Lines out;
  for (const UpperNode* const listed : walk.nodes) {
    const UpperNode& node = *listed;
    const oci::LayerEntry& entry = node.entry;
    const oci::FileAttributes& a = entry.attributes;
    std::string line = cat(static_cast<int>(entry.kind), " ", entry.path, " ", static_cast<int>(a.type), " ",
                           a.mode, " ", a.uid, ":", a.gid, " ", a.mtime.seconds, ".", a.mtime.nanoseconds,
                           " ", a.size, " ", a.link_target, " ", a.device_major, ":", a.device_minor, " ",
                           node.depth, node.changed ? " changed" : "", node.hides_below ? " hides" : "",
                           node.linked ? " linked" : "", " ", node.device, ":", node.inode, " ",
                           reinterpret_cast<std::uintptr_t>(node.below), node.open ? " open" : "");
    for (const auto& [name, value] : a.xattrs) line += cat(" ", name, "=", value);
    out.push_back(std::move(line));
  }
  for (const auto& socket : walk.sockets) out.push_back(cat("socket ", socket));
  for (const auto& mark : walk.fuse_marks) {
    out.push_back(cat("mark ", mark.path, mark.opaque ? " opaque" : "", " ", join(mark.attributes, ","), " ",
                      join(mark.helpers, ","), " ", join(mark.whiteouts, ",")));
  }
  return out;
}

std::size_t count_threads() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

/// The same walk with different numbers of threads, several times. Returns what all found.
UpperWalk walk_in_all_ways(const Trees& trees, const oci::FileTree& lower, DiffOptions options) {
  UpperWalk alone = walk_upper(trees.root(), lower, options);
  CHECK(alone.memory.size() == 1);
  const Lines expected = describe(alone);
  std::size_t shared = 0;
  for (const std::size_t threads : {1u, 2u, 4u, 8u}) {
    ThreadPool pool(threads);
    options.pool = &pool;
    for (int round = 0; round < 4; ++round) {
      const UpperWalk walk = walk_upper(trees.root(), lower, options);
      if (walk.memory.size() > 1) ++shared;
      const Lines found = describe(walk);
      REQUIRE(found.size() == expected.size());
      for (std::size_t i = 0; i < found.size(); ++i) REQUIRE(found[i] == expected[i]);
    }
  }
  CHECK(shared > 0);  // or else this compared nothing
  return alone;
}

}  // namespace

TEST_CASE("an upper directory reads the same with any number of threads") {
  if (tests::lacks_root()) return;
  Trees trees;
  fill(trees);
  const oci::FileTree lower = trees.tree();
  DiffOptions options = trees.options();
  const auto count = [&](const UpperWalk& walk, const auto& matches) {
    return std::count_if(walk.nodes.begin(), walk.nodes.end(),
                         [&](const UpperNode* node) { return matches(*node); });
  };

  SUBCASE("of the kernel") {
    const UpperWalk walk = walk_in_all_ways(trees, lower, options);
    CHECK(trees.compared > 0);
    // Of the large directory, 375 files are as they are below, one in seven of them but for an attribute.
    CHECK(count(walk, [](const UpperNode& node) {
            return !node.changed && node.depth == 1 && node.entry.path.starts_with("a-");
          }) == 321);
    CHECK(count(walk, [](const UpperNode& node) {
            return node.entry.kind == oci::LayerEntry::Kind::whiteout;
          }) > 200);
    CHECK(count(walk, [](const UpperNode& node) { return node.linked; }) == 80);
    CHECK(count(walk, [](const UpperNode& node) { return node.depth == 60; }) == 3);
    CHECK(walk.sockets.size() == 40);
  }
  SUBCASE("of fuse-overlayfs") {
    for (int i = 0; i < 400; i += 2) {
      const std::string dir = cat("c-small/", i);
      open_path(trees.at(dir + "/.wh.hidden"), O_WRONLY | O_CREAT, 0600);
      REQUIRE(::chmod(trees.at(dir + "/.wh.hidden").c_str(), 0700) == 0);
      trees.mark(cat("a-large/", i, i % 3 == 0 ? "-name-that-is-longer-than-some" : ""),
                 "user.fuseoverlayfs.origin");
    }
    options.of_fuse = true;
    const UpperWalk walk = walk_in_all_ways(trees, lower, options);
    CHECK(walk.fuse_marks.size() == 534);  // 200 deletions, 200 copies, and what 134 directories only pretend
  }
  SUBCASE("as a whole tree") {
    options.whole = WholeTree{};
    const UpperWalk walk = walk_in_all_ways(trees, lower, options);
    CHECK(walk.sockets.size() > 40);
  }
  SUBCASE("as a whole tree that was looked at before") {
    ::usleep(20'000);
    const TreeStamps before = stamp_tree(trees.upper());
    ::usleep(20'000);
    trees.make_file("a-large/new");
    options.whole = WholeTree{&before};
    const UpperWalk walk = walk_in_all_ways(trees, lower, options);
    CHECK(count(walk, [](const UpperNode& node) { return node.entry.path == "a-large/new"; }) == 1);
    const auto of_a_file_below = [](const UpperNode& node) {
      return node.depth == 1 && node.entry.path.starts_with("a-") && node.below != nullptr;
    };
    CHECK(count(walk, of_a_file_below) == 0);  // 750 are unchanged since
  }
}

TEST_CASE(
    "of several errors in an upper directory the first on the way is told, with any number of threads") {
  if (tests::lacks_root()) return;
  Trees trees;
  fill(trees);
  const oci::FileTree lower = trees.tree();
  Lines bad = {"a-large/.wh.first", "b-deep/x/x/x/x/x/.wh.second", "b-deep/zz/.wh.third",
               "c-small/150/.wh.fourth", "c-small/99/.wh.fifth"};
  trees.make_dir("b-deep/zz");
  for (const auto& path : bad) trees.make_file(path);
  while (!bad.empty()) {
    for (const std::size_t threads : {0u, 1u, 2u, 4u, 8u}) {
      std::optional<ThreadPool> pool;
      if (threads > 0) pool.emplace(threads);
      CAPTURE(threads);
      CHECK_THROWS_WITH_AS(walk_upper(trees.root(), lower, trees.options(pool ? &*pool : nullptr)),
                           doctest::Contains(bad.front().c_str()), Error);
    }
    REQUIRE(::unlink(trees.at(bad.front()).c_str()) == 0);
    bad.erase(bad.begin());
  }
}

TEST_CASE("a small change is looked at without starting a thread") {
  if (tests::lacks_root()) return;
  Trees trees;
  trees.make_dir("d");
  for (int i = 0; i < 100; ++i) trees.make_file(cat("d/", i));
  ThreadPool pool(4);
  const std::size_t before = count_threads();
  CHECK(walk_upper(trees.root(), trees.tree(), trees.options(&pool)).nodes.size() == 101);
  CHECK(count_threads() == before);
  for (int i = 100; i < 500; ++i) trees.make_file(cat("d/", i));
  CHECK(walk_upper(trees.root(), trees.tree(), trees.options(&pool)).nodes.size() == 501);
  CHECK(count_threads() == before + 3);
}
