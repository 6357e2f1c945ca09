#include "oci/tar_writer.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "tests/support/layer_entries.h"

using namespace imgbuild;
using namespace imgbuild::oci;
using namespace imgbuild::tests;

namespace {

std::string tar_of(const std::vector<PendingEntry>& entries, TarOptions options = {}) {
  StringSink out;
  TarWriter tar(out, options);
  for (const auto& [entry, open] : entries) {
    const auto content = open ? open() : nullptr;
    tar.add(entry, content.get());
  }
  tar.finish();
  return out.take();
}

std::string field(const std::string& tar, std::size_t block, tar::Field where) {
  return tar.substr(block * tar::kBlockSize + where.offset, where.size);
}

/// Without the NULs behind it.
std::string text(const std::string& tar, std::size_t block, tar::Field where) {
  const std::string all = field(tar, block, where);
  return all.substr(0, all.find('\0'));
}

LayerEntry at(LayerEntry entry, std::int64_t seconds, std::uint32_t nanoseconds = 0) {
  entry.attributes.mtime = {seconds, nanoseconds};
  return entry;
}

}  // namespace

TEST_CASE("the archive of the reference vector comes out byte for byte") {
  auto file = at(file_entry("etc/caf\xc3\xa9"), 1700000000);
  file.attributes.uid = 3'000'000;
  const std::string tar = tar_of({pending(at(dir_entry("etc"), 1700000000)),
                                  pending(whiteout_entry("etc/passwd")), pending(file, "hi\n")});
  CHECK(tar.size() == 4096);
  CHECK(text(tar, 2, tar::kName) == "etc/PaxHeaders.0/caf");
  CHECK(tar.substr(3 * 512, 33) == "18 path=etc/caf\xc3\xa9\n15 uid=3000000\n");
  CHECK(sha256(tar).str() == "sha256:6e7809183f15338b2d9a954ad3220df2e6e643a3188c8a438cd01408d6d69d09");
}

TEST_CASE("an empty archive is two zero blocks") {
  CHECK(sha256(tar_of({})).str() ==
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef");
}

TEST_CASE("a whiteout is an empty file without mode, owner and time") {
  TarOptions options;
  options.force_mtime = 5;
  const std::string tar = tar_of({pending(whiteout_entry("passwd"))}, options);
  CHECK(text(tar, 0, tar::kName) == ".wh.passwd");
  CHECK(text(tar, 0, tar::kMode) == "0000000");
  CHECK(text(tar, 0, tar::kMtime) == "00000000000");
  CHECK(field(tar, 0, tar::kTypeFlag) == "0");
}

TEST_CASE("times are rounded down, clamped or forced") {
  const auto mtime = [](LayerEntry entry, TarOptions options = {}) {
    return text(tar_of({pending(std::move(entry))}, options), 0, tar::kMtime);
  };
  CHECK(mtime(at(file_entry("a"), 8, 999'999'999)) == "00000000010");
  CHECK(mtime(at(file_entry("a"), 8, 5), {.clamp_mtime = 7}) == "00000000007");
  CHECK(mtime(at(file_entry("a"), 6, 5), {.clamp_mtime = 7}) == "00000000006");
  CHECK(mtime(at(file_entry("a"), 6), {.clamp_mtime = 3, .force_mtime = 7}) == "00000000007");
}

TEST_CASE("a time before 1970 or too far ahead goes into a PAX record") {
  const std::string before = tar_of({pending(at(file_entry("a"), -1, 500))});
  CHECK(text(before, 1, {0, 100}) == "12 mtime=-1\n");
  CHECK(text(before, 2, tar::kMtime) == "00000000000");
  CHECK(text(tar_of({pending(at(file_entry("a"), 8589934592))}), 1, {0, 100}) == "20 mtime=8589934592\n");
  CHECK(text(tar_of({pending(at(file_entry("a"), 8589934591))}), 0, tar::kMtime) == "77777777777");
}

TEST_CASE("the PAX header itself has no device fields, the entries have zeros there") {
  const std::string tar = tar_of({pending(file_entry("\xc3\xa9"))});
  CHECK(field(tar, 0, tar::kDevMajor) == std::string(8, '\0'));
  CHECK(text(tar, 2, tar::kDevMajor) == "0000000");
  CHECK(field(tar, 0, tar::kTypeFlag) == "x");
  CHECK(text(tar, 0, tar::kName) == "PaxHeaders.0");
}

TEST_CASE("a long name is split at a slash when that is enough") {
  const std::string dir(60, 'd');
  const std::string long_dir(155, 'e');
  const std::string base(100, 'f');
  std::string tar = tar_of({pending(dir_entry(dir)), pending(file_entry(dir + "/" + base))});
  CHECK(text(tar, 1, tar::kPrefix) == dir);
  CHECK(field(tar, 1, tar::kName) == base);
  tar = tar_of({pending(dir_entry(long_dir)), pending(file_entry(long_dir + "/" + base))});
  const std::size_t main = 3;  // the directory's own name of 155 bytes needs a PAX header of two blocks first
  CHECK(text(tar, main, tar::kPrefix) == long_dir);
  CHECK(text(tar, main + 1, tar::kName).empty());
}

TEST_CASE("a long name that cannot be split, or has company in the PAX header, becomes a record") {
  const std::string base(101, 'f');
  std::string tar = tar_of({pending(file_entry(base))});
  CHECK(tar.substr(512, 111) == cat("111 path=", base, "\n"));
  CHECK(field(tar, 2, tar::kName) == base.substr(0, 100));

  const std::string dir(60, 'd');
  auto file = file_entry(dir + "/" + std::string(50, 'g'));
  file.attributes.gid = 2'097'152;
  tar = tar_of({pending(dir_entry(dir)), pending(file)});
  CHECK(tar.substr(2 * 512, 12) == "15 gid=20971");
  CHECK(tar.substr(2 * 512 + 15, 9) == "121 path=");
  CHECK(field(tar, 3, tar::kPrefix) == std::string(155, '\0'));
}

TEST_CASE("an id of seven octal digits needs no record") {
  auto file = file_entry("a");
  file.attributes.uid = 2'097'151;
  CHECK(text(tar_of({pending(file)}), 0, tar::kUid) == "7777777");
}

TEST_CASE("a PAX record counts its own length") {
  const auto length = [](std::size_t value) {
    std::string out;
    tar::append_pax_record(out, "path", std::string(value, 'x'));
    CHECK(out.starts_with(cat(out.size(), " path=")));
    return out.size();
  };
  CHECK(length(90) == 99);
  CHECK(length(91) == 101);
  CHECK(length(989) == 999);
  CHECK(length(990) == 1001);
}

TEST_CASE("links, devices and fifos have their type, target and numbers") {
  auto file = file_entry("f");
  file.attributes.mode = 04755;
  file.attributes.uid = 7;
  file.attributes.mtime = {9, 0};
  auto device = node_entry("z", FileType::block_device, 0660);
  device.attributes.device_major = 8;
  device.attributes.device_minor = 17;
  auto link = symlink_entry("s", "/abs");
  link.attributes.mode = 0700;
  const std::string tar =
      tar_of({pending(file, "x"), pending(hard_link_entry("h", "f")),
              pending(node_entry("p", FileType::fifo, 0600)), pending(link), pending(device)});
  CHECK(field(tar, 2, tar::kTypeFlag) == "1");
  CHECK(text(tar, 2, tar::kLinkName) == "f");
  CHECK(text(tar, 2, tar::kSize) == "00000000000");
  CHECK(text(tar, 2, tar::kMode) == "0004755");
  CHECK(text(tar, 2, tar::kUid) == "0000007");
  CHECK(text(tar, 2, tar::kMtime) == "00000000011");
  CHECK(field(tar, 3, tar::kTypeFlag) == "6");
  CHECK(field(tar, 4, tar::kTypeFlag) == "2");
  CHECK(text(tar, 4, tar::kLinkName) == "/abs");
  CHECK(text(tar, 4, tar::kMode) == "0000777");
  CHECK(field(tar, 5, tar::kTypeFlag) == "4");
  CHECK(text(tar, 5, tar::kDevMajor) == "0000010");
  CHECK(text(tar, 5, tar::kDevMinor) == "0000021");
}

TEST_CASE("extended attributes are raw PAX records in order, and hard links repeat them") {
  auto file = file_entry("f");
  file.attributes.xattrs = {{"user.b", "2"}, {"security.capability", std::string("\1\0\n", 3)}};
  const std::string tar = tar_of({pending(file), pending(hard_link_entry("g", "f"))});
  const std::string records = std::string("36 SCHILY.xattr.security.capability=\1\0\n\n", 40);
  CHECK(tar.substr(512, 3) == "40 ");
  CHECK(tar.substr(512 + 3, 37) == records.substr(3));
  CHECK(tar.substr(512 + 40, 25) == "25 SCHILY.xattr.user.b=2\n");
  CHECK(field(tar, 3, tar::kTypeFlag) == "x");
  CHECK(tar.substr(4 * 512, 64) == tar.substr(512, 64));
}

TEST_CASE("what a layer must not have is refused") {
  const auto refused = [](std::vector<LayerEntry> entries) {
    std::vector<PendingEntry> all;
    for (auto& entry : entries) all.push_back({std::move(entry), {}});
    return all;
  };
  const auto device = node_entry("a", FileType::char_device, 0);
  auto owner = file_entry("a");
  owner.attributes.uid = 0xFFFF'FFFFu;
  auto attribute = file_entry("a");
  attribute.attributes.xattrs = {{"user.a=b", ""}};
  const std::vector<std::pair<const char*, std::vector<LayerEntry>>> cases = {
      {"the root", {dir_entry("")}},
      {"an absolute name", {file_entry("/a")}},
      {"a trailing slash", {dir_entry("a/")}},
      {"an empty component", {dir_entry("a"), file_entry("a//b")}},
      {"a dot", {file_entry(".")}},
      {"dot dot", {file_entry("..")}},
      {"a NUL", {file_entry(std::string("a\0b", 3))}},
      {"a long component", {file_entry(std::string(256, 'a'))}},
      {"a name twice", {file_entry("a"), file_entry("a")}},
      {"a directory twice", {dir_entry("a"), dir_entry("a")}},
      {"no parent", {file_entry("a/b")}},
      {"a parent that comes later", {file_entry("a/b"), dir_entry("a")}},
      {"a parent that is a file", {file_entry("a"), file_entry("a/b")}},
      {"a parent that is a symlink", {dir_entry("b"), symlink_entry("a", "b"), file_entry("a/c")}},
      {"a parent that is a hard link", {file_entry("a"), hard_link_entry("b", "a"), file_entry("b/c")}},
      {"a reserved name", {file_entry(".wh.a")}},
      {"a reserved directory", {dir_entry(".wh.a")}},
      {"a whiteout of a reserved name", {whiteout_entry(".wh.a")}},
      {"an opaque marker", {dir_entry("a"), opaque_entry("a")}},
      {"a late whiteout", {dir_entry("a"), file_entry("a/b"), whiteout_entry("a/c")}},
      {"a late whiteout in the root", {file_entry("a"), whiteout_entry("b")}},
      {"a whiteout behind another directory", {dir_entry("a"), dir_entry("b"), whiteout_entry("a/c")}},
      {"a whiteout twice", {whiteout_entry("a"), whiteout_entry("a")}},
      {"a whiteout without its directory", {whiteout_entry("a/b")}},
      {"a hard link to nothing", {hard_link_entry("a", "b")}},
      {"a hard link to itself", {hard_link_entry("a", "a")}},
      {"a hard link to a directory", {dir_entry("a"), hard_link_entry("b", "a")}},
      {"a hard link to a whiteout", {whiteout_entry("a"), hard_link_entry("b", "a")}},
      {"the overlay whiteout device", {device}},
      {"an owner without number", {owner}},
      {"an unwritable attribute name", {attribute}},
      {"an empty symlink", {symlink_entry("a", "")}},
      {"a long symlink", {symlink_entry("a", std::string(4096, 'x'))}},
      {"a symlink with a NUL", {symlink_entry("a", std::string("a\0b", 3))}},
      {"a type in the mode", {node_entry("a", FileType::regular, 0100644)}},
  };
  for (const auto& [name, entries] : cases) {
    const auto& what = name;  // a macro may not capture a binding
    CAPTURE(what);
    CHECK_THROWS_AS((void)tar_of(refused(entries)), Error);
  }
}

TEST_CASE("a whiteout may be followed by a new entry of the same name") {
  CHECK_NOTHROW(
      (void)tar_of({pending(whiteout_entry("a")), pending(dir_entry("a")), pending(file_entry("a/b"))}));
}

TEST_CASE("a file that changes while it is read is an error that names it") {
  for (const std::string content : {"short", "much longer"}) {
    auto entry = pending(file_entry("a/f"), content);
    entry.entry.attributes.size = 8;
    CHECK_THROWS_WITH_AS((void)tar_of({pending(dir_entry("a")), entry}),
                         "\"a/f\" changed while it was read: it had 8 bytes before", Error);
  }
}
