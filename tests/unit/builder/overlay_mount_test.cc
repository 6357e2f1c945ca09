#include "builder/overlay_mount.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/error.h"
#include "base/mount.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "builder/overlay_classic.h"
#include "tests/support/requires.h"

using namespace imgbuild;
using namespace imgbuild::builder;

namespace {

constexpr std::array kEveryWay = {LayerNaming::descriptors, LayerNaming::names, LayerNaming::joined,
                                  LayerNaming::classic};

/// Lower directories numbered from the top, each with a file of its own and one that all of them have.
class Stack {
 public:
  explicit Stack(int count) : dir_(TempDir::create("/var/tmp", "imgbuild-overlay-test-")) {
    for (int i = 0; i < count; ++i) {
      lower_.push_back(make(cat("l", i)));
      put(lower_.back().get(), cat("own", i), cat(i));
      put(lower_.back().get(), "shared", cat(i));
    }
    upper_ = make("u");
    work_ = make("w");
  }
  OverlayDirs dirs(bool writable = true) const {
    OverlayDirs out;
    for (const auto& fd : lower_) out.lower.push_back(fd.get());
    if (writable) {
      out.upper = upper_.get();
      out.work = work_.get();
    }
    return out;
  }
  int upper() const { return upper_.get(); }
  static void put(int dir, const std::string& name, const std::string& text) {
    write_all(open_at(dir, name, O_WRONLY | O_CREAT, 0644).get(), text);
  }

 private:
  UniqueFd make(const std::string& name) const {
    ensure_dir_at(dir_.fd(), name, 0755);
    return open_at(dir_.fd(), name, O_RDONLY | O_DIRECTORY);
  }
  TempDir dir_;
  std::vector<UniqueFd> lower_;
  UniqueFd upper_, work_;
};

std::string content(int dir, const std::string& name) { return read_file_at(dir, name, 100); }

int count_overlays() {
  const UniqueFd mounts = open_path("/proc/self/mounts", O_RDONLY);
  std::string text;
  char bytes[4096];
  ssize_t size = 0;
  while ((size = ::read(mounts.get(), bytes, sizeof bytes)) > 0)
    text.append(bytes, static_cast<std::size_t>(size));
  int found = 0;
  for (const auto line : split(text, '\n')) found += line.find(" overlay ") != std::string_view::npos;
  return found;
}

}  // namespace

TEST_CASE("every way of naming layers gives the same overlay (SBX-31)") {
  if (tests::lacks_root()) return;
  for (const LayerNaming naming : kEveryWay) {
    CAPTURE(static_cast<int>(naming));
    const Stack stack(3);
    const int before = count_overlays();
    const UniqueFd merged = mount_overlay(stack.dirs(), tests::overlay_flavour(), {naming});
    CHECK(count_overlays() == before);  // nothing is attached anywhere
    CHECK(content(merged.get(), "shared") == "0");
    for (int i = 0; i < 3; ++i) CHECK(content(merged.get(), cat("own", i)) == cat(i));
    Stack::put(merged.get(), "new", "text");
    CHECK(content(stack.upper(), "new") == "text");
    REQUIRE(::unlinkat(merged.get(), "own2", 0) == 0);
    struct stat info {};
    REQUIRE(::fstatat(stack.upper(), "own2", &info, AT_SYMLINK_NOFOLLOW) == 0);
    CHECK(S_ISCHR(info.st_mode));
    CHECK(info.st_rdev == makedev(0, 0));
  }
}

TEST_CASE("an overlay without an upper directory is read-only, however it was made") {
  if (tests::lacks_root()) return;
  const Stack stack(2);
  for (const LayerNaming naming : kEveryWay) {
    CAPTURE(static_cast<int>(naming));
    const UniqueFd merged = mount_overlay(stack.dirs(false), tests::overlay_flavour(), {naming});
    CHECK(content(merged.get(), "own1") == "1");
    CHECK(::mkdirat(merged.get(), "x", 0755) != 0);
    CHECK(errno == EROFS);
  }
}

TEST_CASE("directories of lower layers cannot be renamed in any of them (OVL-1)") {
  if (tests::lacks_root()) return;
  for (const LayerNaming naming : kEveryWay) {
    CAPTURE(static_cast<int>(naming));
    const Stack stack(1);
    ensure_dir_at(stack.dirs().lower.front(), "d", 0755);
    const UniqueFd merged = mount_overlay(stack.dirs(), tests::overlay_flavour(), {naming});
    CHECK(::renameat(merged.get(), "d", merged.get(), "e") != 0);
    CHECK(errno == EXDEV);
  }
}

TEST_CASE("what is made is an overlay that takes further attributes, however it was made") {
  if (tests::lacks_root()) return;
  for (const LayerNaming naming : kEveryWay) {
    CAPTURE(static_cast<int>(naming));
    const Stack stack(2);
    const UniqueFd merged = mount_overlay(stack.dirs(), tests::overlay_flavour(), {naming});
    struct statfs info {};
    REQUIRE(::fstatfs(merged.get(), &info) == 0);
    CHECK(info.f_type == 0x794c7630);
    CHECK_NOTHROW(add_mount_attributes(merged.get(), MOUNT_ATTR_NODEV));
  }
}

TEST_CASE("many layers can be mounted by all ways but the one for few") {
  if (tests::lacks_root()) return;
  const Stack stack(120);
  for (const LayerNaming naming : {LayerNaming::descriptors, LayerNaming::names, LayerNaming::classic}) {
    CAPTURE(static_cast<int>(naming));
    const UniqueFd merged = mount_overlay(stack.dirs(false), tests::overlay_flavour(), {naming});
    CHECK(content(merged.get(), "own119") == "119");
    CHECK(content(merged.get(), "shared") == "0");
  }
  CHECK_THROWS_AS(mount_overlay(stack.dirs(false), tests::overlay_flavour(), {LayerNaming::joined}),
                  UnsupportedError);
}

TEST_CASE("options of mount(2) that do not fit are refused, never cut off (SBX-32)") {
  OverlayDirs dirs;
  dirs.upper = 3;
  dirs.work = 4;
  for (int i = 0; i < 200; ++i) dirs.lower.push_back(1000 + i);
  CHECK(classic_overlay_options({{7, 8}, 3, 4}, "index=off") ==
        "lowerdir=7:8,upperdir=3,workdir=4,index=off");
  CHECK(classic_overlay_options({{7, 8}}, "") == "lowerdir=7:8");
  const std::size_t length = classic_overlay_options(dirs, "").size();
  REQUIRE(length < 4095);
  CHECK(classic_overlay_options(dirs, std::string(4095 - length - 1, 'x')).size() == 4095);
  CHECK_THROWS_WITH_AS(classic_overlay_options(dirs, std::string(4095 - length, 'x')),
                       doctest::Contains("200 layers"), UnsupportedError);
}

TEST_CASE("a directory twice in one overlay is refused with the kernel's reason") {
  if (tests::lacks_root()) return;
  const Stack stack(1);
  OverlayDirs dirs = stack.dirs();
  dirs.lower.push_back(dirs.lower.front());
  for (const LayerNaming naming : kEveryWay) {
    CAPTURE(static_cast<int>(naming));
    CHECK_THROWS_AS(mount_overlay(dirs, tests::overlay_flavour(), {naming}), SystemError);
  }
  CHECK_THROWS_AS(mount_overlay({std::vector<int>(501, dirs.upper)}, tests::overlay_flavour()),
                  UnsupportedError);
}

TEST_CASE("a directory that lost its name cannot be mounted the classic way") {
  if (tests::lacks_root()) return;
  const TempDir dir = TempDir::create("/var/tmp", "imgbuild-overlay-test-");
  ensure_dir_at(dir.fd(), "a", 0755);
  ensure_dir_at(dir.fd(), "b", 0755);
  const UniqueFd first = open_at(dir.fd(), "a", O_RDONLY | O_DIRECTORY),
                 second = open_at(dir.fd(), "b", O_RDONLY | O_DIRECTORY);
  REQUIRE(::unlinkat(dir.fd(), "a", AT_REMOVEDIR) == 0);
  CHECK_THROWS_AS(
      mount_overlay({{first.get(), second.get()}}, tests::overlay_flavour(), {LayerNaming::classic}), Error);
}
