#include "builder/copy_snapshotter.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "base/error.h"
#include "base/mount.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "builder/overlay_mount.h"
#include "builder/overlay_snapshotter.h"
#include "builder/tree_stamps.h"
#include "oci/layer_writer.h"
#include "tests/support/layer_entries.h"
#include "tests/support/memory_blob_store.h"
#include "tests/support/requires.h"

using namespace imgbuild;
using namespace imgbuild::builder;

namespace {

constexpr std::int64_t kEpoch = 1'650'000'000;

oci::PendingEntry file(const std::string& path, const std::string& text, std::uint32_t uid = 0) {
  auto entry = tests::file_entry(path, text.size());
  entry.attributes.mtime = {1'600'000'000, 0};
  entry.attributes.uid = uid;
  return {entry, [text] { return std::make_unique<StringSource>(text); }};
}
oci::PendingEntry dir(const std::string& path) { return {tests::dir_entry(path, 0755), {}}; }

UniqueFd our_overlay(const RootfsSpec& root) {
  return mount_overlay({root.lower_dirs, root.upper_dir, root.work_dir}, tests::overlay_flavour());
}

/// What a kernel gives that is not told otherwise: directories are moved, and metadata copied alone.
UniqueFd other_overlay(const RootfsSpec& root) {
  const auto name = [](int fd) { return cat("/proc/self/fd/", fd); };
  std::string lower;
  for (const int fd : root.lower_dirs) lower += cat(lower.empty() ? "" : ":", name(fd));
  FsContext overlay("overlay");
  overlay.set_string("lowerdir", lower);
  overlay.set_string("upperdir", name(root.upper_dir));
  overlay.set_string("workdir", name(root.work_dir));
  overlay.set_string("redirect_dir", "on");
  overlay.set_string("metacopy", "on");
  return overlay.mount();
}

/// A store, and both kinds of snapshots of it. The changes of a command are made by plain system calls.
struct Bench {
  Bench()
      : store(TempDir::create("/var/tmp", "imgbuild-copy-test-")),
        indexes(store.fd(), blobs, [](const oci::LayerBlob&) {}),
        overlay(store.fd(), blobs, indexes, tests::overlay_flavour()),
        copy(store.fd(), blobs, indexes,
             {.make_devices = tests::overlay_flavour() == oci::OverlayFlavour::trusted}) {}

  oci::LayerBlob add(const std::vector<oci::PendingEntry>& entries) {
    oci::WriteLayerOptions options;
    options.tar.clamp_mtime = kEpoch;
    const auto written = oci::write_layer(entries, {}, blobs, nullptr, options);
    indexes.put(written.layer.diff_id, written.index);
    return written.layer;
  }
  /// The layer made of what `change` does to the root of a snapshot of `layers`.
  oci::LayerBlob run(Snapshotter& snapshots, const std::vector<oci::LayerBlob>& layers,
                     const std::function<void(int root)>& change,
                     const std::function<UniqueFd(const RootfsSpec&)>& mount = our_overlay) {
    const auto snapshot = snapshots.prepare(layers);
    const RootfsSpec root = snapshot->rootfs();
    if (root.root_dir >= 0) {
      change(root.root_dir);
    } else {
      change(mount(root).get());
    }
    const auto layer = add(snapshot->diff(indexes.tree(layers), kEpoch));
    std::optional<oci::ChainId> chain;
    for (const auto& below : layers) chain = oci::chain(chain, below.diff_id);
    snapshot->commit(oci::chain(chain, layer.diff_id), layer.diff_id);
    return layer;
  }

  TempDir store;
  tests::MemoryBlobStore blobs;
  LayerIndexes indexes;
  OverlaySnapshotter overlay;
  CopySnapshotter copy;
};

std::string at(int root, const std::string& path) { return cat("/proc/self/fd/", root, "/", path); }

void write(int root, const std::string& path, const std::string& text) {
  const UniqueFd fd(
      ::open(at(root, path).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK, 0644));
  if (fd) write_all(fd.get(), text);
}

/// One random change, the same for every root with the same content. What is impossible fails everywhere.
void change_something(int root, std::mt19937& random) {
  static const std::vector<std::string> kNames = {"a",   "b",     "d", "d/a", "d/b",
                                                  "d/e", "d/e/f", "g", "g/h", "link"};
  const auto pick = [&] { return at(root, kNames[random() % kNames.size()]); };
  const std::string one = pick(), two = pick();
  const auto number = random();
  switch (random() % 13) {
    case 0:
      return write(root, kNames[number % kNames.size()], cat("text ", number % 3));
    case 1:
      return static_cast<void>(::unlink(one.c_str()) == 0);
    case 2:
      return static_cast<void>(::rmdir(one.c_str()) == 0);
    case 3:
      return static_cast<void>(::mkdir(one.c_str(), number % 2 == 0 ? 0755 : 0700) == 0);
    case 4: {
      // An overlay does not rename directories, and mv copies then; here it is just not done.
      struct stat info {};
      if (::lstat(one.c_str(), &info) == 0 && !S_ISDIR(info.st_mode))
        static_cast<void>(::rename(one.c_str(), two.c_str()) == 0);
      return;
    }
    case 5:
      return static_cast<void>(::symlink("a", one.c_str()) == 0);
    case 6:
      return static_cast<void>(::link(one.c_str(), two.c_str()) == 0);
    case 7:
      return static_cast<void>(::fchmodat(AT_FDCWD, one.c_str(), number % 2 == 0 ? 0644 : 04755, 0) == 0);
    case 8:
      return static_cast<void>(::lchown(one.c_str(), number % 2 == 0 ? 0u : 7u, 0) == 0);
    case 9: {
      const timespec times[] = {{1'600'000'000, 0}, {1'600'000'000 + static_cast<long>(number % 2), 0}};
      return static_cast<void>(::utimensat(AT_FDCWD, one.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
    }
    case 10:
      return static_cast<void>(::mknod(one.c_str(), S_IFIFO | 0600, 0) == 0);
    case 11:
      return static_cast<void>(::lsetxattr(one.c_str(), "user.x", "1", 1, 0) == 0);
    case 12: {  // other bytes, the same size and time (ATK-73)
      struct stat info {};
      if (::lstat(one.c_str(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0) return;
      const UniqueFd fd(::open(one.c_str(), O_WRONLY | O_NOFOLLOW));
      static_cast<void>(::pwrite(fd.get(), "X", 1, 0) == 1);
      const timespec times[] = {info.st_atim, info.st_mtim};
      static_cast<void>(::futimens(fd.get(), times) == 0);
      return;
    }
  }
}

/// What a layer says, a line for each entry.
std::string description(Bench& bench, const oci::LayerBlob& layer) {
  std::string out;
  for (const auto& entry : bench.indexes.get(layer)->entries)
    out += cat(static_cast<int>(entry.kind), " ", entry.path, " ", entry.attributes.mode, " ",
               entry.attributes.uid, " ", entry.attributes.size, " ",
               std::min(entry.attributes.mtime.seconds, kEpoch), " ", entry.attributes.xattrs.size(), " ",
               entry.hard_link_target, "\n");
  return out;
}

}  // namespace

TEST_CASE("random commands make the same layers on overlays and on plain copies (OVL-29, ATK-73, ATK-74)") {
  if (tests::lacks_root()) return;
  Bench bench;
  const std::vector<oci::LayerBlob> base = {
      bench.add({dir("d"),
                 dir("d/e"),
                 file("a", "one"),
                 file("b", "two", 33),
                 file("d/a", "three"),
                 file("d/b", "four"),
                 {tests::hard_link_entry("link", "a"), {}}}),
      bench.add({dir("d"),
                 {tests::special_entry("d/b", oci::LayerEntry::Kind::whiteout), {}},
                 dir("g"),
                 file("g/h", "five")})};
  const char* const asked = std::getenv("IMGBUILD_SEEDS");  // "FIRST LAST", for a longer search
  unsigned seed = 1, last_seed = 150;
  if (asked != nullptr) REQUIRE(std::sscanf(asked, "%u %u", &seed, &last_seed) == 2);
  for (; seed <= last_seed; ++seed) {
    CAPTURE(seed);
    std::vector<oci::LayerBlob> on_overlay = base, on_copy = base;
    for (unsigned step = 0; step < 3; ++step) {
      const auto change = [&](int root) {
        std::mt19937 random(seed * 1000 + step);
        for (unsigned i = 0; i < 1 + seed % 8; ++i) change_something(root, random);
      };
      on_overlay.push_back(bench.run(bench.overlay, on_overlay, change));
      on_copy.push_back(bench.run(bench.copy, on_copy, change));
      CAPTURE(step);
      REQUIRE(description(bench, on_copy.back()) == description(bench, on_overlay.back()));
      REQUIRE(on_copy.back().diff_id == on_overlay.back().diff_id);
    }
  }
}

TEST_CASE("an upper directory of another making is read as a whole (OVL-10, OVL-29)") {
  if (tests::lacks_root() || tests::lacks_first_namespace()) return;
  Bench bench;
  const std::vector<oci::LayerBlob> base = {
      bench.add({dir("d"), dir("d/e"), file("d/a", "one", 5), file("d/e/f", "two"), file("b", "three"),
                 file("c", "four")})};
  const auto change = [](int root) {
    REQUIRE(::rename(at(root, "d").c_str(), at(root, "moved").c_str()) == 0);
    REQUIRE(::chmod(at(root, "b").c_str(), 0600) == 0);
    REQUIRE(::unlink(at(root, "c").c_str()) == 0);
    write(root, "moved/e/f", "changed");
  };
  bool marked = false;
  const auto on_overlay = bench.run(bench.overlay, base, change, [&](const RootfsSpec& root) {
    // Seen from the upper directory it is all there only by name.
    UniqueFd merged = other_overlay(root);
    REQUIRE(::chmod(at(merged.get(), "b").c_str(), 0640) == 0);
    marked = ::getxattr(at(root.upper_dir, "b").c_str(), "trusted.overlay.metacopy", nullptr, 0) >= 0;
    return merged;
  });
  CHECK(marked);
  const auto on_copy = bench.run(bench.copy, base, change);
  CHECK(description(bench, on_overlay) == description(bench, on_copy));
  CHECK(on_overlay.diff_id == on_copy.diff_id);
  // The layer stands for itself: the upper directory would not.
  const auto next = bench.run(bench.overlay, {base[0], on_overlay}, [](int root) {
    CHECK(read_file_at(root, "moved/a", 100) == "one");
    CHECK(read_file_at(root, "b", 100) == "three");
  });
  CHECK(bench.indexes.get(next)->entries.empty());
}

TEST_CASE("a command that writes to one name of a lower file leaves its other names alone") {
  if (tests::lacks_root()) return;
  Bench bench;
  const std::vector<oci::LayerBlob> base = {
      bench.add({file("a", "one"), {tests::hard_link_entry("b", "a"), {}}})};
  const auto layer = bench.run(bench.copy, base, [](int root) {
    const UniqueFd fd = open_at(root, "b", O_WRONLY | O_APPEND);
    write_all(fd.get(), "more");
  });
  const auto& entries = bench.indexes.get(layer)->entries;
  REQUIRE(entries.size() == 1);
  CHECK(entries[0].path == "b");
}

TEST_CASE("the directory of a RUN serves the next one with the layers in between") {
  if (tests::lacks_root()) return;
  Bench bench;
  std::vector<oci::LayerBlob> layers = {bench.add({file("a", "one"), file("b", "two")})};
  ino_t first = 0;
  layers.push_back(bench.run(bench.copy, layers, [&](int root) {
    write(root, "made", "by the first");
    struct stat info {};
    REQUIRE(::stat(at(root, "b").c_str(), &info) == 0);
    first = info.st_ino;
  }));
  layers.push_back(bench.add(
      {{tests::special_entry("a", oci::LayerEntry::Kind::whiteout), {}}, file("copied", "in between")}));
  const auto last = bench.run(bench.copy, layers, [&](int root) {
    struct stat info {};
    REQUIRE(::stat(at(root, "b").c_str(), &info) == 0);
    CHECK(info.st_ino == first);
    CHECK(::stat(at(root, "a").c_str(), &info) != 0);
    CHECK(read_file_at(root, "made", 100) == "by the first");
    CHECK(read_file_at(root, "copied", 100) == "in between");
  });
  CHECK(bench.indexes.get(last)->entries.empty());
}

TEST_CASE("devices 0:0 made by a command are left out, and take away what they replaced (ATK-58)") {
  if (tests::lacks_root() || tests::lacks_first_namespace()) return;
  Bench bench;
  const std::vector<oci::LayerBlob> base = {bench.add({file("a", "one"), file("b", "two")})};
  const auto layer = bench.run(bench.copy, base, [](int root) {
    REQUIRE(::unlink(at(root, "a").c_str()) == 0);
    REQUIRE(::mknod(at(root, "a").c_str(), S_IFCHR, makedev(0, 0)) == 0);
    REQUIRE(::mknod(at(root, "new").c_str(), S_IFCHR, makedev(0, 0)) == 0);
  });
  const auto& entries = bench.indexes.get(layer)->entries;
  REQUIRE(entries.size() == 1);
  CHECK(entries[0].path == "a");
  CHECK(entries[0].kind == oci::LayerEntry::Kind::whiteout);
}

TEST_CASE("owners that cannot exist are noted and found again (RLS-10, RLS-12)") {
  if (tests::lacks_root()) return;
  Bench bench;
  OverlaySnapshotter overlay(bench.store.fd(), bench.blobs, bench.indexes, oci::OverlayFlavour::user, 1,
                             nullptr, nullptr, true);
  CopySnapshotter copy(bench.store.fd(), bench.blobs, bench.indexes,
                       {.make_devices = false, .note_owners = true});
  auto directory = dir("d");
  directory.entry.attributes.uid = 33;
  const std::vector<oci::LayerBlob> base = {
      bench.add({directory, file("d/a", "one", 33), file("d/b", "two", 34)})};
  for (Snapshotter* snapshots : {static_cast<Snapshotter*>(&overlay), static_cast<Snapshotter*>(&copy)}) {
    const auto snapshot = snapshots->prepare(base);
    const RootfsSpec root = snapshot->rootfs();
    UniqueFd merged;
    if (root.root_dir < 0)
      merged = mount_overlay({root.lower_dirs, root.upper_dir, root.work_dir}, oci::OverlayFlavour::user);
    const int top = root.root_dir < 0 ? merged.get() : root.root_dir;
    struct stat info {};
    REQUIRE(::stat(at(top, "d/a").c_str(), &info) == 0);
    CHECK(info.st_uid == 0);
    REQUIRE(::utimensat(AT_FDCWD, at(top, "d/b").c_str(), nullptr, 0) == 0);
    REQUIRE(::rename(at(top, "d/a").c_str(), at(top, "d/moved").c_str()) == 0);
    write(top, "d/new", "three");
    std::vector<std::string> found;
    for (const auto& pending : snapshot->diff(bench.indexes.tree(base)))
      found.push_back(cat(pending.entry.path, " ", pending.entry.attributes.uid));
    CHECK(found == std::vector<std::string>{"d 33", "d/a 0", "d/b 34", "d/moved 33", "d/new 0"});
  }
}

TEST_CASE("what changed since the stamps were taken is told from what did not") {
  const TempDir dir = TempDir::create("/var/tmp", "imgbuild-stamps-test-");
  write(dir.fd(), "old", "1");
  struct stat info {};
  REQUIRE(::fstatat(dir.fd(), "old", &info, 0) == 0);
  // A file as young as the clock's tick may change again without getting another time.
  const auto first = stamp_tree(dir.fd());
  ::usleep(20'000);
  const auto second = stamp_tree(dir.fd());
  CHECK(second.unchanged("old", info));
  CHECK_FALSE(second.unchanged("other", info));
  ::usleep(20'000);
  write(dir.fd(), "old", "2");
  const timespec times[] = {info.st_atim, info.st_mtim};
  REQUIRE(::utimensat(dir.fd(), "old", times, 0) == 0);
  REQUIRE(::fstatat(dir.fd(), "old", &info, 0) == 0);
  CHECK_FALSE(second.unchanged("old", info));
  CHECK(second.same_inode("old", info));
  CHECK(second.clock_held());
  CHECK(first.size() == 1);
}

TEST_CASE("a new name of a file with other names below takes all of them along (LAY-25)") {
  if (tests::lacks_root()) return;
  Bench bench;
  const std::vector<oci::LayerBlob> base = {bench.add(
      {file("a", "one"), {tests::hard_link_entry("b", "a"), {}}, {tests::hard_link_entry("c", "a"), {}}})};
  for (const char* name : {"a", "b", "c"}) {
    CAPTURE(name);
    const auto change = [&](int root) {
      REQUIRE(::link(at(root, name).c_str(), at(root, "n").c_str()) == 0);
    };
    const auto on_overlay = bench.run(bench.overlay, base, change);
    const auto on_copy = bench.run(bench.copy, base, change);
    CHECK(description(bench, on_copy) == description(bench, on_overlay));
  }
}
