#include "oci/layer_applier.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "oci/layer_reader.h"
#include "tests/support/layer_entries.h"
#include "tests/support/raw_tar.h"
#include "tests/support/scan_dir.h"

using namespace imgbuild;
using namespace imgbuild::oci;
using namespace imgbuild::tests;

namespace {

const bool kRoot = ::geteuid() == 0;

/// A directory on disk for one test.
class Disk {
 public:
  Disk() : temp_(TempDir::create(std::filesystem::temp_directory_path().string(), "imgbuild-test-")) {}
  int fd() const { return temp_.fd(); }
  std::string path() const { return (std::filesystem::temp_directory_path() / temp_.name()).string(); }
  std::map<std::string, DiskNode> scan() const { return scan_dir(path()); }

 private:
  TempDir temp_;
};

ApplyOptions options() {
  ApplyOptions result;
  result.flavour = kRoot ? OverlayFlavour::trusted : OverlayFlavour::user;
  result.keep_owner = kRoot;
  result.make_devices = kRoot;
  return result;
}

AppliedLayer apply(const RawTar& tar, const Disk& disk, const FileTree& lower = {}) {
  StringSource source(tar.str());
  return apply_layer(source, disk.fd(), lower, options());
}

DiffId id_of(const RawTar& tar) { return DiffId{sha256(tar.str())}; }

FileTree tree_of(const RawTar& tar, const FileTree& lower = {}) {
  StringSource source(tar.str());
  return lower.apply(read_layer(source).take_index(), id_of(tar));
}

std::string names(const std::map<std::string, DiskNode>& nodes) {
  std::string out;
  for (const auto& [name, node] : nodes) {
    if (!out.empty()) out += ' ';
    if (node.whiteout()) out += '-';
    out += name;
    if (node.directory()) out += node.opaque ? "/!" : "/";
  }
  return out;
}

void check_refused(const RawTar& tar) {
  const Disk disk;
  CHECK_THROWS_AS((void)apply(tar, disk), IntegrityError);
}

}  // namespace

TEST_CASE("a layer is extracted with bytes, modes, times and links") {
  const Disk disk;
  RawTar tar;
  tar.member({.name = "d/", .type = '5', .mode = "0001750", .mtime = "00000000012"})
      .member({.name = "d/f", .mode = "0006751", .mtime = "00000000017"}, "hello")
      .hard("d/h", "d/f")
      .link("d/l", "/etc/passwd")
      .member({.name = "p", .type = '6', .mode = "0000600"})
      .pax({{"mtime", "5.000000007"}})
      .file("n")
      .member({.name = "zero", .mode = "0000000"});
  apply(tar, disk);
  const auto nodes = disk.scan();
  CHECK(names(nodes) == "d/ d/f d/h d/l n p zero");
  CHECK(nodes.at("d").mode() == 01750);
  CHECK(nodes.at("d").info.st_mtime == 10);
  CHECK(nodes.at("d/f").content == "hello");
  CHECK(nodes.at("d/f").mode() == 06751);
  CHECK(nodes.at("d/f").info.st_mtime == 15);
  CHECK(nodes.at("d/f").info.st_ino == nodes.at("d/h").info.st_ino);
  CHECK(nodes.at("d/l").content == "/etc/passwd");
  CHECK(S_ISFIFO(nodes.at("p").info.st_mode));
  CHECK(nodes.at("n").info.st_mtim.tv_nsec == 7);
  CHECK(nodes.at("zero").mode() == 0);
}

TEST_CASE("owners, devices and capabilities are kept when allowed" * doctest::skip(!kRoot)) {
  const Disk disk;
  const std::string capability(
      "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20);
  RawTar tar;
  tar.pax({{"SCHILY.xattr.security.capability", capability}, {"uid", "3000000"}})
      .member({.name = "f", .mode = "0004755"}, "x")
      .member({.name = "c",
               .type = '3',
               .mode = "0000620",
               .gid = "0000005",
               .dev_major = "0000001",
               .dev_minor = "0000003"});
  const auto applied = apply(tar, disk);
  const auto nodes = disk.scan();
  CHECK(nodes.at("f").info.st_uid == 3'000'000);
  CHECK(nodes.at("f").mode() == 04755);
  CHECK(nodes.at("f").xattrs.at("security.capability") == capability);
  CHECK(nodes.at("c").info.st_rdev == makedev(1, 3));
  CHECK(nodes.at("c").info.st_gid == 5);
  CHECK(applied.placeholders.empty());
}

TEST_CASE("devices that cannot be made become empty files, and are listed (ATK-61)") {
  const Disk disk;
  StringSource source(
      RawTar().member({.name = "null", .type = '3', .dev_major = "0000001", .dev_minor = "0000003"}).str());
  ApplyOptions no_devices = options();
  no_devices.make_devices = false;
  const auto applied = apply_layer(source, disk.fd(), {}, no_devices);
  CHECK(applied.placeholders == std::vector<std::string>{"null"});
  CHECK(applied.index.entries.at(0).attributes.type == FileType::char_device);
  CHECK(S_ISREG(disk.scan().at("null").info.st_mode));
}

TEST_CASE("whiteouts become devices 0:0 for what lies below, wherever they stand in the layer (ATK-57)") {
  const FileTree lower = tree_of(RawTar().dir("d/").file("d/x").file("d/y").dir("e/").file("e/x").file("f"));
  const Disk disk;
  apply(RawTar()
            .file("d/.wh.x")
            .file("d/y")
            .file("d/.wh.y")
            .file("e/new")
            .file(".wh.e")
            .file(".wh.f")
            .file(".wh.nothing")
            .file("n/.wh.x"),
        disk, lower);
  CHECK(names(disk.scan()) == "d/ -d/x d/y e/! e/new -f n/");
}

TEST_CASE("opaque markers become the overlay's attribute") {
  const FileTree lower = tree_of(RawTar().dir("d/").file("d/x").dir("e/").file("f"));
  const Disk disk;
  apply(RawTar().file("d/new").file("d/.wh..wh..opq").file("new/.wh..wh..opq").file("d/.wh.x"), disk, lower);
  CHECK(names(disk.scan()) == "d/! d/new new/");

  const Disk all;
  apply(RawTar().file(".wh..wh..opq").file("d/new"), all, lower);
  CHECK(names(all.scan()) == "d/! d/new -e -f");
}

TEST_CASE("directories the layer only implies take their attributes from below") {
  const FileTree lower =
      tree_of(RawTar()
                  .member({.name = "d/", .type = '5', .mode = "0000700", .mtime = "00000000005"})
                  .dir("w/")
                  .link("s", "d"));
  const Disk disk;
  apply(RawTar().file("d/a").file("n/a").file("w/a").file(".wh.w").file("s/a"), disk, lower);
  const auto nodes = disk.scan();
  CHECK(nodes.at("d").mode() == 0700);
  CHECK(nodes.at("d").info.st_mtime == 5);
  CHECK(nodes.at("n").mode() == 0755);
  CHECK(nodes.at("n").info.st_mtime == 0);
  CHECK(nodes.at("s").directory());
}

TEST_CASE("links made earlier in the layer are followed inside it, and never out of it (ATK-53)") {
  const Disk disk;
  apply(RawTar()
            .link("bin", "usr/bin")
            .file("bin/sh", "1")
            .link("up", "../../../..")
            .file("up/top", "2")
            .link("abs", "/usr")
            .file("abs/share/x", "3")
            .file("abs/.wh.gone"),
        disk);
  const auto nodes = disk.scan();
  CHECK(nodes.at("usr/bin/sh").content == "1");
  CHECK(nodes.at("top").content == "2");
  CHECK(nodes.at("usr/share/x").content == "3");
  CHECK(nodes.size() == 9);
  CHECK_FALSE(std::filesystem::exists(disk.path() + "/../top"));
  check_refused(RawTar().link("a", "b").link("b", "a").file("a/x"));
  check_refused(RawTar().file("a").file("a/x"));
  check_refused(RawTar().file("a").link("l", "a").file("l/x"));
}

TEST_CASE("the last of entries with one name wins (ATK-56)") {
  const Disk disk;
  apply(RawTar()
            .dir("a/")
            .file("a/x")
            .file("a", "file")
            .link("b", "a")
            .file("b", "not through the link")
            .file("c", "1")
            .file("c", "2")
            .link("d", "x")
            .dir("d/")
            .file("d/y")
            .member({.name = "e/", .type = '5', .mode = "0000700"})
            .file("e/x")
            .member({.name = "e/", .type = '5', .mode = "0000711"}),
        disk);
  const auto nodes = disk.scan();
  CHECK(names(nodes) == "a b c d/ d/y e/ e/x");
  CHECK(nodes.at("a").content == "file");
  CHECK(nodes.at("b").content == "not through the link");
  CHECK(nodes.at("c").content == "2");
  CHECK(nodes.at("e").mode() == 0711);
}

TEST_CASE("replacing one name of a hard link leaves the other (ATK-55)") {
  const Disk disk;
  const auto applied = apply(RawTar().file("a", "old").hard("b", "a").hard("c", "b").file("a", "new"), disk);
  const auto nodes = disk.scan();
  CHECK(nodes.at("a").content == "new");
  CHECK(nodes.at("b").content == "old");
  CHECK(nodes.at("b").info.st_ino == nodes.at("c").info.st_ino);
  const FileTree tree = FileTree().apply(applied.index, DiffId{sha256("x")});
  CHECK(tree.find("b") == tree.find("c"));
  CHECK(tree.find("b")->origin->path == "b");
  CHECK(tree.find("a") != tree.find("b"));
}

TEST_CASE("hard links to anything but an earlier file of the layer are refused (ATK-54)") {
  check_refused(RawTar().hard("a", "/etc/passwd"));
  check_refused(RawTar().hard("a", "b").file("b"));
  check_refused(RawTar().dir("d/").hard("a", "d"));
  check_refused(RawTar().file("a").hard("a", "a"));
  check_refused(RawTar().file("d/f").hard("d", "d/f"));
  check_refused(RawTar().link("l", "/etc").hard("a", "l/passwd"));
}

TEST_CASE("a hard link to a symlink links the symlink") {
  const Disk disk;
  apply(RawTar().link("l", "/etc/passwd").hard("m", "l"), disk);
  CHECK(disk.scan().at("m").content == "/etc/passwd");
}

TEST_CASE("the device 0:0 deletes, with a warning (ATK-58)") {
  const FileTree lower = tree_of(RawTar().file("x"));
  const Disk disk;
  const auto applied = apply(RawTar().member({.name = "x", .type = '3'}), disk, lower);
  CHECK(names(disk.scan()) == "-x");
  CHECK(applied.warnings.size() == 1);
  CHECK(applied.index.entries.at(0).kind == LayerEntry::Kind::whiteout);
}

TEST_CASE("an entry for the root is not applied") {
  const Disk disk;
  const auto applied =
      apply(RawTar().member({.name = "./", .type = '5', .mode = "0000555"}).file("./a"), disk);
  CHECK(names(disk.scan()) == "a");
  CHECK(applied.index.entries.size() == 1);
}

TEST_CASE("holes stay holes") {
  const Disk disk;
  const std::uint64_t size = 64 << 20;
  apply(RawTar()
            .pax({{"GNU.sparse.size", cat(size)}, {"GNU.sparse.map", cat("4096,3,", size, ",0")}})
            .file("s", "abc"),
        disk);
  const auto node = disk.scan().at("s");
  CHECK(node.content.size() == size);
  CHECK(node.content.substr(4096, 3) == "abc");
  CHECK(static_cast<std::uint64_t>(node.info.st_blocks) * 512 < size / 2);
}

namespace {

/// The overlay of `layers` (top first) at `path`, as the kernel merges it.
void merge(const std::vector<std::string>& layers, const std::string& path,
           std::map<std::string, DiskNode>& out) {
  std::map<std::string, std::vector<std::string>> children;  // name -> layers that take part
  std::map<std::string, DiskNode> top;
  std::map<std::string, bool> closed;
  for (const auto& layer : layers) {
    const std::string dir = path.empty() ? layer : layer + "/" + path;
    for (const auto& entry : std::filesystem::directory_iterator(dir)) {
      const std::string name = entry.path().filename().string();
      if (closed[name]) continue;
      const DiskNode node = disk_node(entry.path().string());
      if (!node.directory()) {
        closed[name] = true;
        if (!node.whiteout() && !top.contains(name)) top[name] = node;
        continue;
      }
      if (!top.contains(name)) top[name] = node;
      children[name].push_back(layer);
      if (node.opaque) closed[name] = true;
    }
  }
  for (const auto& [name, node] : top) {
    const std::string full = path.empty() ? name : path + "/" + name;
    out[full] = node;
    if (node.directory()) merge(children[name], full, out);
  }
}

class Random {
 public:
  explicit Random(std::uint32_t seed) : state_(seed * 2654435761u + 1) {}
  std::uint32_t below(std::uint32_t bound) {
    state_ = state_ * 1664525u + 1013904223u;
    return (state_ >> 8) % bound;
  }
  std::string path() {
    static const char* const kNames[] = {"a", "b", "c"};
    std::string out = kNames[below(3)];
    for (std::uint32_t depth = below(3); depth > 0; --depth) out += std::string("/") + kNames[below(3)];
    return out;
  }

 private:
  std::uint32_t state_;
};

/// One member as any tool might write it, valid in itself.
void add_random(RawTar& tar, Random& random) {
  const std::string path = random.path();
  const std::size_t slash = path.rfind('/') + 1;
  switch (random.below(8)) {
    case 0:
    case 1:
      tar.file(path, std::string(random.below(5), 'x'));
      return;
    case 2:
      tar.member({.name = path + "/", .type = '5', .mode = random.below(2) == 0 ? "0000700" : "0000755"});
      return;
    case 3:
      tar.link(path, random.path());
      return;
    case 4:
      tar.hard(path, random.path());
      return;
    case 5:
      tar.file(path + "/.wh..wh..opq");
      return;
    default:
      tar.file(path.substr(0, slash) + ".wh." + path.substr(slash));
      return;
  }
}

/// Members that are valid together: one that is not is left out.
RawTar random_layer(Random& random) {
  RawTar tar;
  for (std::uint32_t i = 0; i < 8; ++i) {
    RawTar longer = tar;
    add_random(longer, random);
    StringSource source(longer.str());
    try {
      (void)read_layer(source);
      tar = longer;
    } catch (const IntegrityError&) {
    }
  }
  return tar;
}

std::string describe(const DiskNode& node) {
  return cat(static_cast<unsigned>(node.info.st_mode & S_IFMT), " ", node.mode(), " ",
             node.directory() ? 0 : node.info.st_mtime, " ", node.content.size());
}

std::string describe(const FileNode& node) {
  static const std::map<FileType, unsigned> kTypes = {
      {FileType::regular, S_IFREG}, {FileType::directory, S_IFDIR}, {FileType::symlink, S_IFLNK}};
  const auto& a = node.attributes;
  const std::uint64_t size = a.type == FileType::symlink ? a.link_target.size() : a.size;
  return cat(kTypes.at(a.type), " ", a.mode, " ", a.type == FileType::directory ? 0 : a.mtime.seconds, " ",
             size);
}

}  // namespace

TEST_CASE("the merged tree is what an overlay of the extracted layers shows") {
  std::size_t compared = 0;
  std::size_t hidden = 0;
  for (std::uint32_t seed = 0; seed < 150; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    FileTree tree;
    std::vector<std::unique_ptr<Disk>> disks;
    std::vector<std::string> layers;
    for (int i = 0; i < 3; ++i) {
      const RawTar tar = random_layer(random);
      disks.push_back(std::make_unique<Disk>());
      const auto applied = apply(tar, *disks.back(), tree);
      const LayerIndex stored = LayerIndex::parse(applied.index.serialize());
      tree = tree.apply(stored, id_of(tar));
      layers.insert(layers.begin(), disks.back()->path());
    }
    std::map<std::string, DiskNode> merged;
    merge(layers, "", merged);
    compared += merged.size();
    for (const auto& disk : disks) {
      for (const auto& [name, node] : disk->scan()) hidden += node.whiteout() || node.opaque ? 1 : 0;
    }
    std::string on_disk;
    for (const auto& [name, node] : merged) on_disk += name + " " + describe(node) + "\n";
    std::map<std::string, std::string> in_tree;
    walk(tree, "", [&](const std::string& path, const FileNodePtr& node) {
      in_tree[path] = describe(*node);
      return true;
    });
    std::string from_tree;
    for (const auto& [name, text] : in_tree) from_tree += name + " " + text + "\n";
    CHECK(from_tree == on_disk);
  }
  // The layers were not all trivial.
  CHECK(compared > 500);
  CHECK(hidden > 50);
}
