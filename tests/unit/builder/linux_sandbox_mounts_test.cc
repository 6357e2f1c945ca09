// What a command sees mounted, and what of that stays in its layer.
#include "tests/unit/builder/sandbox_bench.h"

using namespace imgbuild;
using namespace imgbuild::builder;
using namespace imgbuild::tests;

TEST_CASE("mounts show what they should and leave no trace in the layer") {
  if (cannot_run()) return;
  Bench bench;
  ensure_dir_at(bench.dir(), "cache", 0755);
  const UniqueFd cache = open_at(bench.dir(), "cache", O_PATH | O_DIRECTORY);
  auto spec = bench.spec(
      "cat /run/secrets/key; stat -c %a /run/secrets/key; echo y > /cache/a/kept; echo z > /scratch/lost; "
      "cat /view/passwd | wc -l; "
      "echo n 2>/dev/null > /view/new && echo written; cat /one | head -n 1; test -e /sub/in/there && echo "
      "nested");
  spec.mounts.push_back(
      {.kind = SandboxMount::Kind::file, .target = "/run/secrets/key", .content = "secret\n", .mode = 0400});
  spec.mounts.push_back(
      {.kind = SandboxMount::Kind::bind, .target = "/cache/a", .source_fd = cache.get(), .read_only = false});
  spec.mounts.push_back(
      {.kind = SandboxMount::Kind::tmpfs, .target = "/scratch", .read_only = false, .mode = 01777});
  spec.mounts.push_back({.kind = SandboxMount::Kind::overlay,
                         .target = "/view",
                         .lower_dirs = {bench.base()},
                         .source_path = "etc"});
  spec.mounts.push_back({.kind = SandboxMount::Kind::overlay,
                         .target = "/one",
                         .lower_dirs = {bench.base()},
                         .source_path = "etc/passwd"});
  spec.mounts.push_back({.kind = SandboxMount::Kind::file, .target = "/sub/in/there", .content = "x"});
  spec.mounts.push_back(
      {.kind = SandboxMount::Kind::tmpfs, .target = "/sub", .read_only = false, .mode = 0755});
  CHECK(bench.run(spec).exit_code == 0);
  CHECK(bench.errors == "");
  CHECK(bench.out == "secret\n400\n2\nroot:x:0:0::/root:/bin/sh\nnested\n");
  CHECK(exists(cache.get(), "kept"));
  for (const char* name : {"run", "cache", "scratch", "view", "one", "sub"}) {
    CAPTURE(name);
    CHECK_FALSE(exists(bench.upper(), name));
  }
}

TEST_CASE("writes to a writable view of a stage are thrown away") {
  if (cannot_run()) return;
  Bench bench;
  auto spec = bench.spec("echo n > /view/new && cat /view/new");
  spec.mounts.push_back({.kind = SandboxMount::Kind::overlay,
                         .target = "/view",
                         .lower_dirs = {bench.base()},
                         .source_path = "/etc",
                         .read_only = false});
  CHECK(bench.run(spec).exit_code == 0);
  CHECK(bench.out == "n\n");
  CHECK_FALSE(exists(bench.base(), "etc/new"));
}

TEST_CASE("a mount point that got company stays without what was mounted in it") {
  if (cannot_run()) return;
  Bench bench;
  auto spec = bench.spec("rm -r /a 2>/dev/null; echo real > /a/file");
  spec.mounts.push_back(
      {.kind = SandboxMount::Kind::tmpfs, .target = "/a/b", .read_only = false, .mode = 0755});
  CHECK(bench.run(spec).exit_code == 0);
  CHECK(exists(bench.upper(), "a/file"));
  CHECK_FALSE(exists(bench.upper(), "a/b"));
}

TEST_CASE("cleaning mount points follows no link the command left (ATK-32)") {
  if (cannot_run()) return;
  Bench bench;
  ensure_dir_at(bench.dir(), "canary", 0755);
  ensure_dir_at(bench.dir(), "canary/b", 0755);
  char path[4096] = {};
  REQUIRE(::readlink(cat("/proc/self/fd/", bench.dir()).c_str(), path, sizeof path - 1) > 0);
  auto spec = bench.spec(cat("mkdir /x && mv /a /x/ && ln -s ", path, "/canary /a"));
  spec.mounts.push_back(
      {.kind = SandboxMount::Kind::tmpfs, .target = "/a/b", .read_only = false, .mode = 0755});
  CHECK(bench.run(spec).exit_code == 0);
  CHECK(bench.errors == "");
  CHECK(exists(bench.dir(), "canary/b"));
  struct stat info {};
  REQUIRE(::fstatat(bench.upper(), "a", &info, AT_SYMLINK_NOFOLLOW) == 0);
  CHECK(S_ISLNK(info.st_mode));
}

TEST_CASE("mount targets that would hide the sandbox's own are refused (ATK-37)") {
  CHECK(clean_mount_target("/a//b/./c/../d/") == "/a/b/d");
  CHECK(clean_mount_target("/../../x") == "/x");
  CHECK(clean_mount_target("/dev/shm/x") == "/dev/shm/x");
  CHECK(clean_mount_target("/dev/shm") == "/dev/shm");
  for (const std::string target : {"", "/", "//", "relative", "/a/../..", "/proc", "/proc/self", "/sys",
                                   "/sys/kernel", "/dev", "/dev/null", "/dev/shmem"}) {
    CAPTURE(target);
    CHECK_THROWS_AS(clean_mount_target(target), Error);
  }
  CHECK_THROWS_AS(clean_mount_target("/" + std::string(5000, 'a')), Error);
  CHECK_THROWS_AS(clean_mount_target("/" + std::string(256, 'a')), Error);
}

TEST_CASE("an image with a link in place of a system directory is refused (ATK-6)") {
  if (cannot_run()) return;
  Bench bench;
  REQUIRE(::symlinkat("/tmp", bench.base(), "dev") == 0);
  CHECK_THROWS_WITH_AS(bench.run("true"), doctest::Contains("/dev"), Error);
}

TEST_CASE("links in place of /etc/resolv.conf are covered themselves (SBX-54)") {
  if (cannot_run()) return;
  Bench bench;
  REQUIRE(::symlinkat("../run/systemd/resolve/stub-resolv.conf", bench.base(), "etc/resolv.conf") == 0);
  CHECK(bench.run("cat /etc/resolv.conf").exit_code == 0);
  CHECK(bench.out == "nameserver 192.0.2.1\n");
  CHECK_FALSE(exists(bench.upper(), "run"));
  CHECK_FALSE(exists(bench.upper(), "etc/resolv.conf"));
}
