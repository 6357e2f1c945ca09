#include "builder/diff.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <map>

#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "builder/overlay_mount.h"
#include "builder/overlay_xattr.h"
#include "oci/layer_applier.h"
#include "oci/layer_writer.h"
#include "tests/support/layer_entries.h"
#include "tests/support/memory_blob_store.h"
#include "tests/support/requires.h"

using namespace imgbuild;
using namespace imgbuild::builder;
using oci::LayerEntry;

namespace {

/// A layer on disk and as a tree, and a detached overlay on top of it to change things in.
class Overlay {
 public:
  explicit Overlay(std::vector<oci::PendingEntry> base,
                   oci::OverlayFlavour flavour = tests::overlay_flavour())
      : flavour_(flavour), dir_(TempDir::create("/var/tmp", "imgbuild-diff-test-")) {
    for (const char* name : {"lower", "upper", "work"}) ensure_dir_at(dir_.fd(), name, 0755);
    lower_ = open_at(dir_.fd(), "lower", O_RDONLY | O_DIRECTORY);
    work_ = open_at(dir_.fd(), "work", O_RDONLY | O_DIRECTORY);
    upper_ = std::make_shared<RootDir>(open_at(dir_.fd(), "upper", O_RDONLY | O_DIRECTORY));
    const auto written = oci::write_layer(base, {}, blobs_, nullptr);
    oci::ApplyOptions options;
    options.flavour = flavour_;
    options.make_devices = flavour_ == oci::OverlayFlavour::trusted;
    oci::apply_layer(blobs_, written.layer, lower_.get(), oci::FileTree(), options);
    tree_ = oci::FileTree().apply(written.index, written.layer.diff_id);
    merged_ = mount_overlay({{lower_.get()}, upper_->fd(), work_.get()}, flavour_);
  }
  /// The path of `name` in the merged view, for plain system calls.
  std::string at(const std::string& name) const { return cat("/proc/self/fd/", merged_.get(), "/", name); }
  std::string in_upper(const std::string& name) const {
    return cat("/proc/self/fd/", upper_->fd(), "/", name);
  }
  void write(const std::string& name, const std::string& text) const {
    const UniqueFd file = open_path(at(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    write_all(file.get(), text);
  }
  UpperDiff diff(DiffOptions options = {}) const {
    options.flavour = flavour_;
    if (!options.open_lower) {
      options.open_lower = [this](const oci::ContentOrigin& origin) {
        return RootDir(lower_.duplicate()).open_beneath(origin.path, O_RDONLY);
      };
    }
    return diff_upper(upper_, tree_, options);
  }
  /// Kind and path of every entry, in order: "d etc", "f a", "- gone", "h b -> a".
  std::vector<std::string> changes() const {
    std::vector<std::string> out;
    for (const auto& pending : diff().entries) {
      const LayerEntry& entry = pending.entry;
      if (entry.kind == LayerEntry::Kind::whiteout)
        out.push_back(cat("- ", entry.path));
      else if (entry.kind == LayerEntry::Kind::hard_link)
        out.push_back(cat("h ", entry.path, " -> ", entry.hard_link_target));
      else
        out.push_back(cat(entry.attributes.type == oci::FileType::directory ? "d "
                          : entry.attributes.type == oci::FileType::symlink ? "l "
                                                                            : "f ",
                          entry.path));
    }
    return out;
  }

 private:
  oci::OverlayFlavour flavour_;
  TempDir dir_;
  UniqueFd lower_, work_, merged_;
  std::shared_ptr<RootDir> upper_;
  tests::MemoryBlobStore blobs_;
  oci::FileTree tree_;
};

using Lines = std::vector<std::string>;

oci::PendingEntry dir(const std::string& path, std::uint32_t mode = 0755) {
  return {tests::dir_entry(path, mode), {}};
}
oci::PendingEntry file(const std::string& path, const std::string& text) {
  auto entry = tests::file_entry(path, text.size());
  entry.attributes.mtime = {1'600'000'000, 0};
  return {entry, [text] { return std::make_unique<StringSource>(text); }};
}
oci::PendingEntry other_name(const std::string& path, const std::string& target) {
  return {tests::hard_link_entry(path, target), {}};
}

}  // namespace

TEST_CASE("new files come with their parents in layer order") {
  if (tests::lacks_root()) return;
  const Overlay overlay({dir("etc", 0700), file("etc/a", "1")});
  REQUIRE(::mkdir(overlay.at("etc/sub").c_str(), 0750) == 0);
  overlay.write("etc/sub/new", "text");
  CHECK(overlay.changes() == Lines{"d etc", "d etc/sub", "f etc/sub/new"});
  const auto diff = overlay.diff();
  CHECK(diff.entries[0].entry.attributes.mode == 0700);
  CHECK(diff.entries[1].entry.attributes.mode == 0750);
  CHECK(diff.upper_is_exact);
  REQUIRE(diff.entries[2].open);
  CHECK(read_all(*diff.entries[2].open(), 100, "new") == "text");
}

TEST_CASE("changes that change nothing are left out") {
  if (tests::lacks_root()) return;
  const Overlay overlay({dir("d"), file("d/same", "abc"), file("d/other", "abc")});
  REQUIRE(::chmod(overlay.at("d/same").c_str(), 0644) == 0);  // copied up, no change
  overlay.write("d/created", "x");
  REQUIRE(::unlink(overlay.at("d/created").c_str()) == 0);  // only the directory's time changed
  struct stat info {};
  REQUIRE(::stat(overlay.in_upper("d/same").c_str(), &info) ==
          0);  // it is in the upper directory all the same
  CHECK(overlay.changes().empty());
  // The same size and time, other bytes: only reading tells.
  const timespec times[] = {{1'600'000'000, 0}, {1'600'000'000, 0}};
  overlay.write("d/other", "xyz");
  REQUIRE(::utimensat(AT_FDCWD, overlay.at("d/other").c_str(), times, 0) == 0);
  CHECK(overlay.changes() == Lines{"d d", "f d/other"});
}

TEST_CASE("deleted files become whiteouts, but only where there was something") {
  if (tests::lacks_root()) return;
  const Overlay overlay({dir("d"), file("d/a", "1"), file("d/b", "2"), dir("gone"), file("gone/x", "3")});
  REQUIRE(::unlink(overlay.at("d/b").c_str()) == 0);
  REQUIRE(::unlink(overlay.at("gone/x").c_str()) == 0);
  REQUIRE(::rmdir(overlay.at("gone").c_str()) == 0);
  overlay.write("d/new", "");
  CHECK(overlay.changes() == Lines{"- gone", "d d", "- d/b", "f d/new"});
}

TEST_CASE("a replaced directory hides its old content by whiteouts of its own") {
  if (tests::lacks_root()) return;
  const Overlay overlay({dir("d"), file("d/a", "1"), dir("d/sub"), file("d/sub/x", "2")});
  REQUIRE(::unlink(overlay.at("d/sub/x").c_str()) == 0);
  REQUIRE(::rmdir(overlay.at("d/sub").c_str()) == 0);
  REQUIRE(::unlink(overlay.at("d/a").c_str()) == 0);
  REQUIRE(::rmdir(overlay.at("d").c_str()) == 0);
  REQUIRE(::mkdir(overlay.at("d").c_str(), 0755) == 0);
  REQUIRE(::mkdir(overlay.at("d/sub").c_str(), 0755) == 0);
  overlay.write("d/z", "3");
  CHECK(overlay.changes() == Lines{"d d", "- d/a", "d d/sub", "- d/sub/x", "f d/z"});
}

TEST_CASE("a type change needs no whiteout") {
  if (tests::lacks_root()) return;
  const Overlay overlay({dir("d"), file("d/x", "1"), file("f", "2")});
  REQUIRE(::unlink(overlay.at("d/x").c_str()) == 0);
  REQUIRE(::rmdir(overlay.at("d").c_str()) == 0);
  REQUIRE(::symlink("f", overlay.at("d").c_str()) == 0);
  REQUIRE(::unlink(overlay.at("f").c_str()) == 0);
  REQUIRE(::mkdir(overlay.at("f").c_str(), 0755) == 0);
  CHECK(overlay.changes() == Lines{"l d", "d f"});
}

TEST_CASE("hard links stay links, also to names the upper directory does not have (LAY-25)") {
  if (tests::lacks_root()) return;
  const Overlay overlay({dir("d"), file("d/b", "data"), other_name("d/c", "d/b")});
  REQUIRE(::link(overlay.at("d/b").c_str(), overlay.at("a").c_str()) == 0);
  CHECK(overlay.changes() == Lines{"f a", "d d", "h d/b -> a", "h d/c -> a"});
  CHECK_FALSE(overlay.diff().upper_is_exact);
}

TEST_CASE("writing through one name of a lower hard link changes that name alone") {
  if (tests::lacks_root()) return;
  const Overlay overlay({file("a", "data"), other_name("b", "a")});
  overlay.write("a", "other");
  CHECK(overlay.changes() == Lines{"f a"});
}

TEST_CASE("new hard links share one file") {
  if (tests::lacks_root()) return;
  const Overlay overlay({});
  overlay.write("z", "data");
  REQUIRE(::link(overlay.at("z").c_str(), overlay.at("m").c_str()) == 0);
  CHECK(overlay.changes() == Lines{"f m", "h z -> m"});
}

TEST_CASE("what no layer can hold is refused or left out") {
  if (tests::lacks_root()) return;
  SUBCASE("a name that would be a whiteout (ATK-71)") {
    const Overlay overlay({});
    overlay.write(".wh.victim", "");
    CHECK_THROWS_WITH_AS(overlay.diff(), doctest::Contains(".wh."), Error);
  }
  SUBCASE("a file of absurd length") {
    const Overlay overlay({});
    overlay.write("lastlog", "");
    REQUIRE(::truncate(overlay.at("lastlog").c_str(), 65l << 30) == 0);
    CHECK_THROWS_WITH_AS(overlay.diff(), doctest::Contains("lastlog"), Error);
  }
  SUBCASE("a socket") {
    const Overlay overlay({});
    REQUIRE(::mknod(overlay.at("sock").c_str(), S_IFSOCK | 0600, 0) == 0);
    CHECK(overlay.diff().entries.empty());
    CHECK(overlay.diff().skipped_sockets == Lines{"sock"});
    CHECK_FALSE(overlay.diff().upper_is_exact);
  }
}

TEST_CASE("attributes a layer records are compared and kept, the overlay's own are not") {
  if (tests::lacks_root()) return;
  const Overlay overlay({file("a", "1"), file("b", "2")});
  REQUIRE(::setxattr(overlay.at("a").c_str(), "user.note", "x", 1, 0) == 0);
  if (tests::overlay_flavour() == oci::OverlayFlavour::trusted)
    REQUIRE(::setxattr(overlay.at("b").c_str(), "trusted.mine", "x", 1, 0) == 0);
  const auto diff = overlay.diff();
  REQUIRE(diff.entries.size() == 1);
  CHECK(diff.entries[0].entry.attributes.xattrs == std::map<std::string, std::string>{{"user.note", "x"}});
}

TEST_CASE("devices and fifos are recorded") {
  if (tests::lacks_root() || tests::lacks_first_namespace()) return;
  const Overlay overlay({});
  REQUIRE(::mknod(overlay.at("dev").c_str(), S_IFBLK | 0660, makedev(7, 9)) == 0);
  REQUIRE(::mkfifo(overlay.at("pipe").c_str(), 0600) == 0);
  const auto diff = overlay.diff();
  REQUIRE(diff.entries.size() == 2);
  CHECK(diff.entries[0].entry.attributes.type == oci::FileType::block_device);
  CHECK(diff.entries[0].entry.attributes.device_major == 7);
  CHECK(diff.entries[0].entry.attributes.device_minor == 9);
  CHECK(diff.entries[1].entry.attributes.type == oci::FileType::fifo);
}

TEST_CASE("a copied placeholder of a device is no change") {
  if (tests::lacks_root()) return;
  auto device = tests::file_entry("dev/zero", 0);
  device.attributes.type = oci::FileType::char_device;
  device.attributes.mode = 0666;
  device.attributes.device_major = 1;
  device.attributes.device_minor = 5;
  device.attributes.mtime = {1'600'000'000, 0};
  const Overlay overlay({dir("dev"), {device, {}}}, oci::OverlayFlavour::user);
  struct stat info {};
  REQUIRE(::stat(overlay.at("dev/zero").c_str(), &info) == 0);
  REQUIRE(S_ISREG(info.st_mode));
  REQUIRE(::chmod(overlay.at("dev/zero").c_str(), 0666) == 0);
  REQUIRE(::lstat(overlay.in_upper("dev/zero").c_str(), &info) == 0);  // it was copied
  CHECK(overlay.changes().empty());
  SUBCASE("but a file with something in it is one") {
    overlay.write("dev/zero", "x");
    CHECK(overlay.changes() == Lines{"d dev", "f dev/zero"});
  }
  SUBCASE("and so is a file with other rights") {
    REQUIRE(::chmod(overlay.at("dev/zero").c_str(), 0600) == 0);
    CHECK(overlay.changes() == Lines{"d dev", "f dev/zero"});
  }
}

TEST_CASE("capabilities of another revision are brought into the form of layers") {
  const std::string second("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
                           20);
  std::string third = second;
  third[3] = 3;
  CHECK(layer_capability(second) == second);
  CHECK(layer_capability(third + std::string(4, '\0')) == second);
  CHECK(layer_capability(third + std::string("\x01\0\0\0", 4)).empty());
  CHECK(layer_capability("short").empty());
}
