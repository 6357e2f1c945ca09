#include "base/path_walk.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <random>
#include <thread>

#include "base/error.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "base/temp_dir.h"

using namespace imgbuild;

namespace {

/// A tree with every kind of way out, and a canary beside it.
class Tree {
 public:
  Tree() : outer_(TempDir::create(std::string("/tmp"), "path-walk-")) {
    ensure_dir_at(outer_.fd(), "root", 0755);
    ensure_dir_at(outer_.fd(), "outside", 0755);
    file(outer_.fd(), "outside/canary");
    root = open_at(outer_.fd(), "root", O_PATH | O_DIRECTORY);
    for (const char* dir : {"a", "a/b", "a/b/c", "etc"}) ensure_dir_at(root.get(), dir, 0755);
    for (const char* name : {"f", "a/f", "a/b/c/f", "etc/passwd"}) file(root.get(), name);
    link("/etc", "abs");
    link("../../../../etc", "a/up");
    link("../outside", "out");
    link("/outside/canary", "canary");
    link("loop", "loop");
    link("b/c", "a/to-c");
    link("a/to-c/../f", "odd");
    link("nowhere/at/all", "dangling");
    link("/proc/self/root", "magic");
    link("f/", "file-as-dir");
    link("..", "a/b/dots");
    link("a/", "slash");
    link(".", "self");
  }
  void link(const char* target, const char* name) { REQUIRE(::symlinkat(target, root.get(), name) == 0); }
  static void file(int dir, const std::string& name) {
    const UniqueFd fd(::openat(dir, name.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    REQUIRE(fd);
  }
  int outer() const { return outer_.fd(); }
  UniqueFd root;

 private:
  TempDir outer_;
};

/// What was opened, or the errno.
struct Outcome {
  int error_number = 0;
  dev_t device = 0;
  ino_t inode = 0;
  bool operator==(const Outcome&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Outcome& o) {
  return out << "errno " << o.error_number << " inode " << o.inode;
}

Outcome outcome(const UniqueFd& fd, int error_number) {
  if (!fd) return {error_number};
  struct stat info {};
  REQUIRE(::fstat(fd.get(), &info) == 0);
  return {0, info.st_dev, info.st_ino};
}

Outcome by_walk(const Tree& tree, const std::string& path, int flags, bool in_root) {
  const UniqueFd fd =
      in_root ? walk_in_root(tree.root.get(), path, flags, 0) : walk_beneath(tree.root.get(), path, flags, 0);
  return outcome(fd, errno);
}

Outcome by_kernel(const Tree& tree, const std::string& path, int flags, bool in_root) {
  const RootDir root(tree.root.duplicate());
  try {
    return outcome(in_root ? root.open_in_root(path, flags) : root.open_beneath(path, flags), 0);
  } catch (const SystemError& error) {
    return {error.error_number()};
  }
}

}  // namespace

TEST_CASE("walking finds what the kernel finds, and fails where it fails (FS-3)") {
  const Tree tree;
  const std::vector<std::string> names = {
      "a",    "b",   "c",        "f",           "etc",  "passwd", "abs",  "up", "out", "canary", "loop",
      "to-c", "odd", "dangling", "file-as-dir", "dots", "slash",  "self", "..", ".",   "",       "x"};
  std::mt19937 random(4711);
  const auto pick = [&](std::size_t count) {
    return std::uniform_int_distribution<std::size_t>(0, count - 1)(random);
  };
  const int flag_sets[] = {O_PATH,
                           O_PATH | O_NOFOLLOW,
                           O_PATH | O_DIRECTORY,
                           O_RDONLY,
                           O_RDONLY | O_NOFOLLOW,
                           O_RDONLY | O_DIRECTORY,
                           O_RDONLY | O_DIRECTORY | O_NOFOLLOW};
  for (int i = 0; i < 20'000; ++i) {
    std::string path;
    for (std::size_t left = 1 + pick(5); left > 0; --left)
      path += names[pick(names.size())] + (left > 1 || pick(8) == 0 ? "/" : "");
    if (pick(6) == 0) path = "/" + path;
    if (path.empty()) continue;
    const int flags = flag_sets[pick(std::size(flag_sets))];
    for (const bool in_root : {true, false}) {
      const Outcome walked = by_walk(tree, path, flags, in_root),
                    kernel = by_kernel(tree, path, flags, in_root);
      // Which of several reasons a hopeless path fails for is not the point.
      if (walked.error_number != 0 && kernel.error_number != 0) continue;
      CAPTURE(path);
      CAPTURE(flags);
      CAPTURE(in_root);
      REQUIRE(walked == kernel);
    }
  }
}

TEST_CASE("nothing leads out of the root or through a procfs (ATK-53)") {
  const Tree tree;
  struct stat canary {};
  REQUIRE(::fstatat(tree.outer(), "outside/canary", &canary, 0) == 0);
  for (const char* path :
       {"out/canary", "../outside/canary", "a/b/dots/../../../outside/canary", "canary", "/../outside/canary",
        "a/up/../../outside/canary", "self/self/../../outside/canary"}) {
    CAPTURE(path);
    CHECK(by_walk(tree, path, O_PATH, true).inode != canary.st_ino);
    CHECK(by_walk(tree, path, O_PATH, false).inode != canary.st_ino);
  }
  CHECK(by_walk(tree, "..", O_PATH, false).error_number == EXDEV);
  CHECK(by_walk(tree, "/etc", O_PATH, false).error_number == EXDEV);
  CHECK(by_walk(tree, "abs/passwd", O_PATH, false).error_number == ELOOP);
  CHECK(by_walk(tree, "loop", O_PATH, true).error_number == ELOOP);
  const UniqueFd slash = open_path("/", O_PATH | O_DIRECTORY);
  for (const char* path : {"proc/self/root/etc", "proc/self/fd/0", "proc/self/exe", "proc/self/cwd/."}) {
    CAPTURE(path);
    CHECK_FALSE(walk_in_root(slash.get(), path, O_PATH, 0));
    CHECK(errno == ELOOP);
  }
  CHECK_FALSE(walk_in_root(tree.root.get(), std::string("a\0b", 3), O_PATH, 0));
  CHECK_FALSE(walk_in_root(tree.root.get(), std::string(5000, 'x'), O_PATH, 0));
}

TEST_CASE("files are made in the root only, and never through a link when they must be new") {
  const Tree tree;
  CHECK(walk_in_root(tree.root.get(), "abs/new", O_WRONLY | O_CREAT | O_EXCL, 0600));
  struct stat info {};
  CHECK(::fstatat(tree.root.get(), "etc/new", &info, 0) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  CHECK_FALSE(walk_in_root(tree.root.get(), "dangling", O_WRONLY | O_CREAT | O_EXCL, 0600));
  CHECK(errno == EEXIST);
  CHECK(walk_in_root(tree.root.get(), "out", O_WRONLY | O_CREAT,
                     0600));  // "../outside", which is below our root
  CHECK(::fstatat(tree.root.get(), "outside", &info, 0) == 0);
  CHECK(S_ISREG(info.st_mode));
  CHECK_FALSE(walk_beneath(tree.root.get(), "abs/new2", O_WRONLY | O_CREAT, 0600));
}

TEST_CASE("renames by somebody else lead nowhere outside (ATK-7)") {
  const Tree tree;
  struct stat canary {};
  REQUIRE(::fstatat(tree.outer(), "outside/canary", &canary, 0) == 0);
  std::atomic<bool> over = false;
  // Moves the directory we walk in out of the tree and back, and swaps it for a link.
  std::thread attacker([&] {
    const int root = tree.root.get(), outer = tree.outer();
    while (!over) {
      ::renameat(root, "a/b", outer, "moved");
      ::symlinkat("../../outside", root, "a/b");
      ::unlinkat(root, "a/b", 0);
      ::renameat(outer, "moved", root, "a/b");
    }
  });
  for (int i = 0; i < 20'000; ++i) {
    for (const char* path :
         {"a/b/c/../../../outside/canary", "a/b/../../outside/canary", "a/b/canary", "a/b/c/../../canary"}) {
      const UniqueFd fd = walk_in_root(tree.root.get(), path, O_PATH, 0);
      if (!fd) continue;
      struct stat info {};
      REQUIRE(::fstat(fd.get(), &info) == 0);
      const bool is_canary = info.st_ino == canary.st_ino && info.st_dev == canary.st_dev;
      if (is_canary) over = true;
      REQUIRE_FALSE(is_canary);
    }
  }
  over = true;
  attacker.join();
}
