#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "builder/diff.h"
#include "builder/fuse_marks.h"
#include "builder/fuse_program.h"
#include "builder/overlay_xattr.h"
#include "builder/snapshotter_choice.h"
#include "oci/file_tree.h"
#include "oci/layer_writer.h"
#include "tests/support/layer_entries.h"
#include "tests/support/memory_blob_store.h"
#include "tests/support/requires.h"

using namespace imgbuild;
using namespace imgbuild::builder;
using oci::LayerEntry;

namespace {

using Lines = std::vector<std::string>;

/// A probe that gives `answer`, and counts.
struct FakeProbe {
  ProbeFailure answer;
  int asked = 0;
  std::function<ProbeFailure()> ask() {
    return [this] {
      ++asked;
      return answer;
    };
  }
};

struct stat attributes(mode_t mode, uid_t uid) {
  struct stat out {};
  out.st_mode = mode;
  out.st_uid = uid;
  return out;
}

struct stat device(unsigned number, mode_t mode = S_IFCHR | 0700) {
  struct stat out {};
  out.st_mode = mode;
  out.st_rdev = number;
  return out;
}

/// An upper directory made by hand, over /d with a, b and /d/sub with c.
class Upper {
 public:
  Upper() : dir_(TempDir::create("/var/tmp", "imgbuild-fuse-test-")) {
    root_ = std::make_shared<RootDir>(open_at(dir_.fd(), ".", O_RDONLY | O_DIRECTORY));
    oci::LayerIndex index;
    const std::vector<oci::PendingEntry> base = {{tests::dir_entry("d"), {}},
                                                 {tests::file_entry("d/a", 0), {}},
                                                 {tests::file_entry("d/b", 0), {}},
                                                 {tests::dir_entry("d/sub"), {}},
                                                 {tests::file_entry("d/sub/c", 0), {}}};
    const auto written = oci::write_layer(base, {}, blobs_, nullptr);
    tree_ = oci::FileTree().apply(written.index, written.layer.diff_id);
  }
  std::string at(const std::string& name) const { return cat("/proc/self/fd/", root_->fd(), "/", name); }
  void make_dir(const std::string& name) const {
    REQUIRE(::mkdir(at(name).c_str(), 0755) == 0);
    REQUIRE(::chmod(at(name).c_str(), 0755) == 0);
  }
  void make_file(const std::string& name, mode_t mode = 0700) const {
    open_path(at(name), O_WRONLY | O_CREAT, 0600);
    REQUIRE(::chmod(at(name).c_str(), mode) == 0);
  }
  void set(const std::string& name, const char* attribute, const std::string& value = "y") const {
    REQUIRE(::setxattr(at(name).c_str(), attribute, value.data(), value.size(), 0) == 0);
  }
  bool has(const std::string& name, const char* attribute) const {
    return ::getxattr(at(name).c_str(), attribute, nullptr, 0) >= 0;
  }
  UpperDiff diff() const {
    return diff_upper(root_, tree_, {.flavour = oci::OverlayFlavour::user, .of_fuse = true});
  }
  Lines changes() const {
    Lines out;
    for (const auto& [entry, open] : diff().entries)
      out.push_back(cat(entry.kind == LayerEntry::Kind::whiteout ? "- " : "+ ", entry.path));
    return out;
  }
  const RootDir& root() const { return *root_; }

 private:
  TempDir dir_;
  std::shared_ptr<RootDir> root_;
  tests::MemoryBlobStore blobs_;
  oci::FileTree tree_;
};

}  // namespace

TEST_CASE("the best snapshots that can be had are chosen, and no more is tried") {
  FakeProbe works, overlay_fails{{"no overlays here", 22}, 0}, fuse_fails{{"no fuse here", 2}, 0};
  using Kind = SnapshotterKind;

  auto choice = choose_snapshotter(Kind::automatic, works.ask(), fuse_fails.ask());
  CHECK(choice.kind == Kind::overlay);
  CHECK(choice.no_overlay.empty());
  CHECK(fuse_fails.asked == 0);

  FakeProbe fuse_works;
  choice = choose_snapshotter(Kind::automatic, overlay_fails.ask(), fuse_works.ask());
  CHECK(choice.kind == Kind::fuse_overlayfs);
  CHECK(choice.no_overlay == "no overlays here");
  CHECK(choice.no_fuse.empty());
  CHECK(choice.overlay_failed);

  choice = choose_snapshotter(Kind::automatic, overlay_fails.ask(), fuse_fails.ask());
  CHECK(choice.kind == Kind::copy);
  CHECK(choice.no_overlay == "no overlays here");
  CHECK(choice.no_fuse == "no fuse here");
}

TEST_CASE("snapshots that were asked for are the only ones that are tried") {
  using Kind = SnapshotterKind;
  FakeProbe overlay, fuse;
  auto choice = choose_snapshotter(Kind::fuse_overlayfs, overlay.ask(), fuse.ask());
  CHECK(choice.kind == Kind::fuse_overlayfs);
  CHECK(choice.no_overlay == "excluded by --snapshotter=fuse-overlayfs");
  CHECK_FALSE(choice.overlay_failed);
  CHECK(overlay.asked == 0);

  choice = choose_snapshotter(Kind::copy, overlay.ask(), fuse.ask());
  CHECK(choice.kind == Kind::copy);
  CHECK(choice.no_overlay == "excluded by --snapshotter=copy");
  CHECK(overlay.asked == 0);
  CHECK(fuse.asked == 1);

  FakeProbe fails{{"no overlays here", 22}, 0};
  choice = choose_snapshotter(Kind::overlay, fails.ask(), fuse.ask());
  CHECK(choice.kind == Kind::copy);
  CHECK(choice.no_overlay == "no overlays here");
  CHECK(fuse.asked == 1);
}

TEST_CASE("what is short just now is no reason for other snapshots") {
  const auto fails = [](int error) {
    return [error]() -> ProbeFailure { throw SystemError(error, "probe"); };
  };
  CHECK_THROWS_AS(choose_snapshotter(SnapshotterKind::automatic, fails(EMFILE), fails(EIO)), SystemError);
}

TEST_CASE("a program is trusted that nobody else can change (OVL-43)") {
  const mode_t program = S_IFREG | 0755;
  CHECK(distrust_of(attributes(program, 0), 1000, false, 65534).empty());
  CHECK(distrust_of(attributes(program, 1000), 1000, false, 65534).empty());
  CHECK(distrust_of(attributes(program, 33), 1000, false, 65534) ==
        "belongs neither to root nor to who runs imgbuild");
  CHECK(distrust_of(attributes(S_IFREG | 0775, 0), 0, false, 65534) ==
        "may be changed by others than its owner");
  CHECK(distrust_of(attributes(S_IFREG | 0757, 0), 0, false, 65534) ==
        "may be changed by others than its owner");
  CHECK(distrust_of(attributes(S_IFREG | 0644, 0), 0, false, 65534) == "is not executable");
  CHECK(distrust_of(attributes(S_IFDIR | 0755, 0), 0, false, 65534) == "is no regular file");
  // Root of the machine has no number in a user namespace; nobody outside of one is somebody.
  CHECK(distrust_of(attributes(program, 65534), 0, true, 65534).empty());
  CHECK_FALSE(distrust_of(attributes(program, 65534), 0, false, 65534).empty());
}

TEST_CASE("the program is looked for in directories of the system only") {
  const TempDir dir = TempDir::create("/var/tmp", "imgbuild-fuse-test-");
  const std::string path = cat("/var/tmp/", dir.name());
  CHECK(find_fuse_program(false, {path}).problem == "the program fuse-overlayfs is not installed");
  open_at(dir.fd(), "fuse-overlayfs", O_WRONLY | O_CREAT, 0755);
  REQUIRE(::fchmodat(dir.fd(), "fuse-overlayfs", 0777, 0) == 0);
  const auto found = find_fuse_program(false, {path, "/usr/bin"});
  CHECK(found.path == cat(path, "/fuse-overlayfs"));
  CHECK(found.problem == cat(path, "/fuse-overlayfs may be changed by others than its owner"));
}

TEST_CASE("a version of fuse-overlayfs with a known defect is one to ask for") {
  const auto version = [](const char* printed) { return parse_fuse_version(printed); };
  CHECK(version("fusermount3 version: 3.14.0\nfuse-overlayfs: version 1.10\nFUSE library version 3.14.0\n") ==
        FuseVersion{1, 10});
  CHECK(version("fuse-overlayfs: version 1.16-dev") == FuseVersion{1, 16});
  for (const char* printed :
       {"", "fuse-overlayfs: version ", "fuse-overlayfs: version 1", "fuse-overlayfs: version 1.",
        "fuse-overlayfs: version x.y", "fuse-overlayfs: version 99999999999.1", "version 1.16"})
    CHECK_MESSAGE(!version(printed), printed);
  CHECK(fuse_defect(FuseVersion{1, 16}).empty());
  CHECK(fuse_defect(FuseVersion{2, 0}).empty());
  CHECK(fuse_defect(FuseVersion{1, 15}).starts_with("fuse-overlayfs 1.15 can lose or repeat names"));
  CHECK(fuse_defect({}).starts_with("fuse-overlayfs of an unknown version"));
  CHECK(!fuse_version(
      {.path = "/dev/null", .file = UniqueFd(::open("/dev/null", O_PATH | O_CLOEXEC)), .problem = {}}));
}

TEST_CASE("names of fuse-overlayfs are told from names of commands by their form (OVL-40)") {
  const auto mark = attributes(S_IFREG | 0700, 0);
  CHECK(fuse_name(".wh.a", mark) == FuseName::whiteout);
  CHECK(fuse_name(".wh..wh..opq", mark) == FuseName::opaque);
  CHECK(fuse_name(".wh..opq", mark) == FuseName::opaque);
  CHECK(fuse_name(".wh..opq", device(0)) == FuseName::opaque);
  CHECK(fuse_name("a", mark) == FuseName::content);
  CHECK(fuse_name(".wh.a", attributes(S_IFREG | 0644, 0)) == FuseName::content);
  CHECK(fuse_name(".wh.a", attributes(S_IFDIR | 0700, 0)) == FuseName::content);
  CHECK(fuse_name(".wh..wh..opq", attributes(S_IFLNK | 0777, 0)) == FuseName::content);
  CHECK(fuse_name(".wh..opq", device(259)) == FuseName::content);
  auto full = mark;
  full.st_size = 1;
  CHECK(fuse_name(".wh.a", full) == FuseName::content);
}

TEST_CASE("every mark of an opaque directory hides what is below it, and is no content") {
  for (const std::string mark :
       {"user.fuseoverlayfs.opaque", "trusted.overlay.opaque", ".wh..wh..opq", ".wh..opq"}) {
    CAPTURE(mark);
    if (mark.starts_with("trusted.") && tests::lacks_root()) continue;
    Upper upper;
    upper.make_dir("d");
    upper.make_file("d/b", 0600);
    if (mark.starts_with(".wh."))
      upper.make_file("d/" + mark);
    else
      upper.set("d", mark.c_str());
    CHECK(upper.changes() == Lines{"+ d", "- d/a", "- d/sub", "+ d/b"});
  }
}

TEST_CASE("attributes a command can set are no marks") {
  Upper upper;
  upper.make_dir("d");
  upper.set("d", "user.overlay.opaque");
  upper.set("d", "user.overlay.redirect", "/etc");
  upper.set("d", "user.fuseoverlayfs.origin", "d");
  CHECK(upper.changes().empty());
}

TEST_CASE("deletions written as names are deletions, and what was made again is there") {
  Upper upper;
  upper.make_dir("d");
  upper.make_file("d/.wh.a");
  upper.make_file("d/.wh.b");
  upper.make_file("d/b", 0600);
  upper.make_file("d/.wh.never");
  CHECK(upper.changes() == Lines{"+ d", "- d/a", "+ d/b"});
}

TEST_CASE("a name of a command that would delete is refused") {
  Upper upper;
  upper.make_dir("d");
  upper.make_file("d/.wh.a", 0644);
  CHECK_THROWS_WITH_AS(
      upper.diff(),
      "d/.wh.a: a layer cannot hold a file whose name starts with .wh.: it would delete another one", Error);
}

TEST_CASE("an upper directory of fuse-overlayfs becomes one of the kernel's overlays") {
  if (tests::lacks_root()) return;
  Upper upper;
  upper.make_dir("d");
  upper.make_file("d/.wh..wh..opq");
  upper.make_file("d/.wh.a");
  upper.make_file("d/b", 0600);
  upper.set("d/b", "user.fuseoverlayfs.origin", "d/b");
  REQUIRE(::link(upper.at("d/b").c_str(), upper.at("d/other").c_str()) == 0);
  upper.set("d", "user.fuseoverlayfs.opaque");
  upper.set("d", "user.a");
  const timespec times[] = {{5, 0}, {7, 8}};
  REQUIRE(::utimensat(AT_FDCWD, upper.at("d").c_str(), times, 0) == 0);
  const auto before = upper.changes();
  CHECK(settle_fuse_marks(upper.root(), upper.diff().fuse_marks, oci::OverlayFlavour::user));
  CHECK(upper.has("d", "user.overlay.opaque"));
  CHECK(upper.has("d", "user.a"));
  CHECK_FALSE(upper.has("d", "user.fuseoverlayfs.opaque"));
  CHECK_FALSE(upper.has("d/b", "user.fuseoverlayfs.origin"));
  CHECK(::access(upper.at("d/.wh..wh..opq").c_str(), F_OK) != 0);
  struct stat info {};
  REQUIRE(::lstat(upper.at("d/a").c_str(), &info) == 0);
  CHECK(S_ISCHR(info.st_mode));
  CHECK(info.st_rdev == 0);
  REQUIRE(::lstat(upper.at("d").c_str(), &info) == 0);
  CHECK(info.st_mtim.tv_sec == 7);
  CHECK(info.st_mtim.tv_nsec == 8);
  const auto kernel = diff_upper(std::make_shared<RootDir>(UniqueFd(::dup(upper.root().fd()))),
                                 oci::FileTree(), {.flavour = oci::OverlayFlavour::user});
  Lines names;
  for (const auto& pending : kernel.entries) names.push_back(pending.entry.path);
  CHECK(names == Lines{"d", "d/b", "d/other"});
}
