#include "oci/tar_reader.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "tests/support/raw_tar.h"

using namespace imgbuild;
using namespace imgbuild::oci;
using namespace imgbuild::tests;

namespace {

struct Member {
  LayerEntry entry;
  std::string content;
};

std::vector<Member> members(const std::string& tar, const TarLimits& limits = {}) {
  StringSource source(tar);
  TarReader reader(source, limits);
  std::vector<Member> out;
  while (const TarMember* member = reader.next()) {
    TarContent content(reader);
    out.push_back({member->entry, read_all(content, 1u << 24, "member")});
  }
  reader.drain();
  char byte = 0;
  CHECK(source.read({&byte, 1}) == 0);
  return out;
}

Member only(const RawTar& tar) {
  auto all = members(tar.str());
  REQUIRE(all.size() == 1);
  return all[0];
}

std::string name_of_file(const std::string& name) { return only(RawTar().file(name)).entry.path; }

void check_refused(const RawTar& tar) { CHECK_THROWS_AS((void)members(tar.str()), IntegrityError); }

const std::string k100 = std::string(100, 'n');

}  // namespace

TEST_CASE("a ustar member has its attributes and bytes") {
  const auto member = only(RawTar().member(
      {.name = "a/b", .mode = "0106755", .uid = "0001750", .gid = "0000144", .mtime = "14524770400"},
      "hello"));
  CHECK(member.entry.path == "a/b");
  CHECK(member.entry.attributes.type == FileType::regular);
  CHECK(member.entry.attributes.mode == 06755);
  CHECK(member.entry.attributes.uid == 1000);
  CHECK(member.entry.attributes.gid == 100);
  CHECK(member.entry.attributes.mtime == Timestamp{1700000000, 0});
  CHECK(member.entry.attributes.size == 5);
  CHECK(member.content == "hello");
}

TEST_CASE("every type that layers have is read") {
  const auto all =
      members(RawTar()
                  .dir("d/")
                  .dir("e")
                  .link("l", "/x")
                  .member({.name = "c", .type = '3', .dev_major = "0000001", .dev_minor = "0000003"})
                  .member({.name = "b", .type = '4', .dev_major = "0000010", .dev_minor = "0000021"})
                  .member({.name = "p", .type = '6'})
                  .member({.name = "7", .type = '7'}, "x")
                  .member({.name = "0", .type = '\0'}, "y")
                  .hard("h", "./0")
                  .str());
  REQUIRE(all.size() == 9);
  CHECK(all[0].entry.path == "d");
  CHECK(all[0].entry.attributes.type == FileType::directory);
  CHECK(all[1].entry.attributes.type == FileType::directory);
  CHECK(all[2].entry.attributes.link_target == "/x");
  CHECK(all[3].entry.attributes.device_minor == 3);
  CHECK(all[4].entry.attributes.type == FileType::block_device);
  CHECK(all[4].entry.attributes.device_major == 8);
  CHECK(all[5].entry.attributes.type == FileType::fifo);
  CHECK(all[6].content == "x");
  CHECK(all[7].content == "y");
  CHECK(all[8].entry.kind == LayerEntry::Kind::hard_link);
  CHECK(all[8].entry.hard_link_target == "0");
}

TEST_CASE("other types are refused (ATK-61, ATK-69)") {
  for (const char type : std::string("MVDNXASsZ89")) {
    CAPTURE(type);
    if (type != 'S') check_refused(RawTar().member({.name = "a", .type = type}));
  }
}

TEST_CASE("names come in their simplest relative form (ATK-51)") {
  CHECK(name_of_file("./a") == "a");
  CHECK(name_of_file("/a//b/./c") == "a/b/c");
  CHECK(name_of_file("//a") == "a");
  CHECK(name_of_file("...") == "...");
  CHECK(name_of_file("\xff\n") == "\xff\n");
  CHECK(only(RawTar().dir("./")).entry.path.empty());
  CHECK(only(RawTar().member({.name = "n", .prefix = "p/q"})).entry.path == "p/q/n");
  CHECK(only(RawTar().file(k100)).entry.path == k100);
}

TEST_CASE("names that could lead out, or nowhere, are refused (ATK-50)") {
  for (const std::string name : {"..", "../a", "a/../../b", "a/..", "./..//x", ""}) {
    CAPTURE(name);
    check_refused(RawTar().file(name));
    check_refused(RawTar().pax({{"path", name.empty() ? "a/.." : name}}).file("a"));
    if (!name.empty()) check_refused(RawTar().gnu_long('L', name).file("a"));
    check_refused(RawTar().file("a").hard("b", name));
  }
  check_refused(RawTar().pax({{"path", std::string("a\0b", 3)}}).file("a"));
  check_refused(RawTar().pax({{"path", std::string(256, 'a')}}).file("a"));
  std::string deep;
  while (deep.size() < 4097) deep += "a/";
  check_refused(RawTar().pax({{"path", deep + "b"}}).file("a"));
}

TEST_CASE("the root can only be a directory (ATK-52)") {
  for (const std::string name : {".", "/", "./"}) {
    CAPTURE(name);
    check_refused(RawTar().member({.name = name, .type = '2', .link = "/etc"}));
    check_refused(RawTar().member({.name = name, .type = '0'}));
    check_refused(RawTar().member({.name = name, .type = '3'}));
    check_refused(RawTar().file("a").hard(name, "a").file("b").hard("c", name));
  }
}

TEST_CASE("a trailing slash makes a directory in v7 headers only") {
  const auto old = only(RawTar().member({.name = "d/", .magic = kV7TarMagic}));
  CHECK(old.entry.attributes.type == FileType::directory);
  check_refused(RawTar().member({.name = "d/"}));
  check_refused(RawTar().member({.name = "d/", .magic = kGnuTarMagic}));
  check_refused(RawTar().link("d/", "x"));
}

TEST_CASE("a v7 header has no prefix and needs no magic") {
  const auto member = only(RawTar().member(
      {.name = "a", .dev_major = "", .dev_minor = "", .magic = kV7TarMagic, .prefix = "junk"}, "x"));
  CHECK(member.entry.path == "a");
  CHECK(only(RawTar().member({.name = "a", .magic = kGnuTarMagic, .prefix = "12345678901"})).entry.path ==
        "a");
}

TEST_CASE("numbers may be octal with blanks or base-256, and nothing else (ATK-62, ATK-65)") {
  const auto uid = [](const std::string& field) {
    return only(RawTar().member({.name = "a", .uid = field})).entry.attributes.uid;
  };
  CHECK(uid("    12 ") == 10);
  CHECK(uid("0000012") == 10);
  CHECK(uid("") == 0);
  CHECK(uid(std::string("\x80\0\0\0\0\x2d\xc6\xc0", 8)) == 3'000'000);
  CHECK(uid(std::string("\x80\0\0\0\xff\xff\xff\xfe", 8)) == 0xFFFF'FFFEu);
  for (const std::string& bad :
       {std::string("0000018"), std::string("abc"), std::string("-000001"), std::string("1 2"),
        std::string("0x1"), std::string("\xff\xff\xff\xff\xff\xff\xff\xff"),
        std::string("\x80\0\0\0\xff\xff\xff\xff", 8), std::string("\x80\0\0\1\0\0\0\0", 8)}) {
    CAPTURE(bad);
    check_refused(RawTar().member({.name = "a", .uid = bad}));
  }
  const auto old = only(RawTar().member({.name = "a", .mtime = std::string(11, '\xff') + "\xfe"}));
  CHECK(old.entry.attributes.mtime.seconds == -2);
  check_refused(RawTar().member({.name = "a", .size = std::string(12, '\xff')}));
  check_refused(RawTar().member({.name = "a", .size = std::string("\x80\0\0\0\x80\0\0\0\0\0\0\0", 12)}));
  check_refused(RawTar().member({.name = "a", .size = std::string("\xbf") + std::string(11, '\xff')}));
  check_refused(RawTar().member({.name = "a", .mode = "zzz"}));
}

TEST_CASE("a wrong checksum is refused and a signed one accepted") {
  check_refused(RawTar().member({.name = "a", .checksum_error = 1}));
  // Three bytes above 127 count 256 less each when taken as signed.
  CHECK(only(RawTar().member({.name = "\xff\xfe\xfd", .checksum_error = -3 * 256})).entry.path ==
        "\xff\xfe\xfd");
  check_refused(RawTar().member({.name = "\xff\xfe\xfd", .checksum_error = -2 * 256}));
}

TEST_CASE("PAX records override the header") {
  const auto member = only(RawTar()
                               .pax({{"path", "caf\xc3\xa9"},
                                     {"uid", "3000000"},
                                     {"gid", "4294967294"},
                                     {"mtime", "-1.25"},
                                     {"SCHILY.xattr.user.a", std::string("\0=\n", 3)},
                                     {"SCHILY.xattr.user.empty", ""},
                                     {"comment", "x"},
                                     {"atime", "nonsense"},
                                     {"LIBARCHIVE.xattr.user.b", "AAAA"}})
                               .file("cut", "hi"));
  CHECK(member.entry.path == "caf\xc3\xa9");
  CHECK(member.entry.attributes.uid == 3'000'000);
  CHECK(member.entry.attributes.gid == 4'294'967'294u);
  CHECK(member.entry.attributes.mtime == Timestamp{-2, 750'000'000});
  CHECK(member.entry.attributes.xattrs ==
        std::map<std::string, std::string>{{"user.a", std::string("\0=\n", 3)}, {"user.empty", ""}});
  CHECK(only(RawTar().pax({{"linkpath", "/long"}}).link("a", "short")).entry.attributes.link_target ==
        "/long");
}

TEST_CASE("PAX times keep nanoseconds and round down") {
  const auto mtime = [](const std::string& text) {
    return only(RawTar().pax({{"mtime", text}}).file("a")).entry.attributes.mtime;
  };
  CHECK(mtime("5") == Timestamp{5, 0});
  CHECK(mtime("5.") == Timestamp{5, 0});
  CHECK(mtime("5.1234567899") == Timestamp{5, 123'456'789});
  CHECK(mtime("-5") == Timestamp{-5, 0});
  CHECK(mtime("-0.0000000001") == Timestamp{-1, 999'999'999});
  CHECK(mtime("-4.9999999999") == Timestamp{-5, 0});
  for (const std::string bad : {"x", "1e5", "1.2.3", "--1", ".5", "1.x", "99999999999999999999"}) {
    CAPTURE(bad);
    check_refused(RawTar().pax({{"mtime", bad}}).file("a"));
  }
}

TEST_CASE("the last of repeated PAX keys counts, and an empty value takes it back") {
  CHECK(only(RawTar().pax({{"path", "x"}, {"path", "y"}}).file("a")).entry.path == "y");
  CHECK(only(RawTar().pax({{"path", "x"}, {"path", ""}}).file("a")).entry.path == "a");
}

TEST_CASE("a PAX size decides how much data follows (ATK-63)") {
  const auto all = members(RawTar()
                               .pax({{"size", "3"}})
                               .member({.name = "a", .size = "00000000000"})
                               .payload("abc")
                               .file("b")
                               .str());
  REQUIRE(all.size() == 2);
  CHECK(all[0].content == "abc");
  CHECK(all[1].entry.path == "b");
}

TEST_CASE("a PAX header belongs to the next member, past a long name (ATK-63)") {
  const auto all = members(RawTar().pax({{"uid", "7"}}).gnu_long('L', "long").file("a").file("b").str());
  REQUIRE(all.size() == 2);
  CHECK(all[0].entry.path == "long");
  CHECK(all[0].entry.attributes.uid == 7);
  CHECK(all[1].entry.path == "b");
  CHECK(all[1].entry.attributes.uid == 0);
}

TEST_CASE("malformed or ambiguous PAX headers are refused (ATK-63)") {
  for (const std::string text : {"5 a=b", "6 a=b\nx", "6 ab\n", "6 =ab\n", "x a=b\n", "7 a=b\n", "5 a=b\n\n",
                                 "06 a=bc", "99999999999999999999 a=b\n", " 6 a=b\n", "3 \n", "1 "}) {
    CAPTURE(text);
    check_refused(RawTar().member({.name = "x", .type = 'x'}, text).file("a"));
  }
  check_refused(RawTar().pax({{"uid", "1"}}).pax({{"gid", "1"}}).file("a"));
  check_refused(RawTar().file("a").pax({{"uid", "1"}}));
  check_refused(RawTar().file("a").gnu_long('L', "x"));
  check_refused(RawTar().gnu_long('L', "x").gnu_long('L', "x").file("a"));
  check_refused(RawTar().pax({{"path", "x"}}).gnu_long('L', "y").file("a"));
  CHECK(only(RawTar().pax({{"path", "x"}}).gnu_long('L', "x").file("a")).entry.path == "x");
  check_refused(RawTar().pax({{"linkpath", "x"}}).gnu_long('K', "y").link("a", "z"));
  check_refused(RawTar().pax({{"uid", "-1"}}).file("a"));
  check_refused(RawTar().pax({{"uid", "4294967295"}}).file("a"));
  check_refused(RawTar().pax({{"size", "1x"}}).file("a"));
  check_refused(RawTar().pax({{"SCHILY.xattr.", "x"}}).file("a"));
  check_refused(RawTar().pax({{"SCHILY.xattr.user.a", std::string((64 << 10) + 1, 'x')}}).file("a"));
  check_refused(RawTar().member({.name = "x", .type = 'x', .size = "00004000001"}));
  check_refused(RawTar().member({.name = "x", .type = 'L', .size = "00000200001"}));
}

TEST_CASE("global PAX headers are ignored unless they would change what follows (ATK-63)") {
  CHECK(only(RawTar().pax({{"comment", "0123"}}, 'g').file("a")).entry.path == "a");
  for (const std::string key :
       {"path", "size", "uid", "gid", "linkpath", "mtime", "SCHILY.xattr.user.a", "GNU.sparse.size"}) {
    CAPTURE(key);
    check_refused(RawTar().pax({{key, "1"}}, 'g').file("a"));
  }
}

TEST_CASE("attributes that steer overlays or belong to this machine are dropped (ATK-59, ATK-60, ATK-76)") {
  const auto member = only(RawTar()
                               .pax({{"SCHILY.xattr.trusted.overlay.opaque", "y"},
                                     {"SCHILY.xattr.security.selinux", "x"},
                                     {"SCHILY.xattr.security.capability", "c"},
                                     {"SCHILY.xattr.user.containers.x", "x"},
                                     {"SCHILY.xattr.user.overlay.opaque", "y"},
                                     {"SCHILY.xattr.nonsense", "x"}})
                               .file("a"));
  CHECK(member.entry.attributes.xattrs ==
        std::map<std::string, std::string>{{"security.capability", "c"}, {"user.overlay.opaque", "y"}});
}

TEST_CASE("GNU long names and links are read") {
  const std::string name = std::string(200, 'a') + "/" + std::string(200, 'b');
  const auto member = only(RawTar()
                               .gnu_long('K', name)
                               .gnu_long('L', "l/" + name)
                               .member({.name = "cut", .type = '2', .link = "cut", .magic = kGnuTarMagic}));
  CHECK(member.entry.path == "l/" + name);
  CHECK(member.entry.attributes.link_target == name);
}

TEST_CASE("whiteouts and opaque markers are recognised, AUFS leftovers skipped") {
  const auto all = members(RawTar()
                               .file("d/.wh.x", "junk")
                               .file("d/.wh..wh..opq")
                               .file(".wh.y")
                               .file(".wh..wh.plnk")
                               .dir(".wh..wh.orph/")
                               .file(".wh..wh.orph/x")
                               .hard(".wh.z", "d/.wh..wh.aufs")
                               .file(".wh." + std::string(90, 'n'))
                               .str());
  REQUIRE(all.size() == 5);
  CHECK(all[0].entry.kind == LayerEntry::Kind::whiteout);
  CHECK(all[0].entry.path == "d/x");
  CHECK(all[1].entry.kind == LayerEntry::Kind::opaque);
  CHECK(all[1].entry.path == "d");
  CHECK(all[2].entry.path == "y");
  CHECK(all[3].entry.path == "z");
  CHECK(all[3].entry.kind == LayerEntry::Kind::whiteout);
  CHECK(all[4].entry.path == std::string(90, 'n'));
}

TEST_CASE("malformed whiteouts are refused (ATK-57)") {
  for (const std::string name :
       {".wh.", ".wh..", ".wh...", "a/.wh.", ".wh.a/b", ".wh..wh..opq/x", ".wh.../x"}) {
    CAPTURE(name);
    check_refused(RawTar().file(name));
  }
}

TEST_CASE("content where none belongs is refused, a hard link's size is ignored (ATK-65)") {
  check_refused(RawTar().member({.name = "d/", .type = '5'}, "x"));
  check_refused(RawTar().member({.name = "l", .type = '2', .link = "x"}, "x"));
  check_refused(RawTar().member({.name = "p", .type = '6'}, "x"));
  check_refused(RawTar().member({.name = "l", .type = '2'}));
  check_refused(RawTar().file("a").hard("b", ""));
  const auto all = members(RawTar()
                               .file("a", "x")
                               .member({.name = "b", .type = '1', .link = "a", .size = "00000000001"})
                               .file("c")
                               .str());
  CHECK(all.size() == 3);
}

TEST_CASE("two zero blocks, one, or none end the archive") {
  const RawTar tar = RawTar().file("a", "x");
  CHECK(members(tar.open_end()).size() == 1);
  CHECK(members(tar.open_end() + std::string(512, '\0')).size() == 1);
  CHECK(members(tar.open_end() + std::string(10240, '\0')).size() == 1);
  CHECK(members(tar.str() + "anything").size() == 1);
  CHECK(members(tar.str() + RawTar().file("hidden").str()).size() == 1);
  CHECK(members("").empty());
  check_refused(RawTar().file("a").zeros(1).file("b"));
}

TEST_CASE("an archive cut inside a block or member is refused (ATK-67)") {
  const std::string tar = RawTar().pax({{"uid", "1"}}).file("a", std::string(700, 'x')).open_end();
  for (std::size_t length = 1; length < tar.size(); length += 37) {
    CAPTURE(length);
    CHECK_THROWS_AS((void)members(tar.substr(0, length)), IntegrityError);
  }
  for (std::size_t length = 512; length < tar.size(); length += 512) {
    CAPTURE(length);
    CHECK_THROWS_AS((void)members(tar.substr(0, length)), IntegrityError);
  }
}

TEST_CASE("content nobody reads is skipped") {
  StringSource source(RawTar().file("a", std::string(100'000, 'x')).file("b", "y").str());
  TarReader reader(source);
  CHECK(reader.next()->entry.path == "a");
  char some[10];
  CHECK(reader.read(some) == 10);
  CHECK(reader.next()->entry.path == "b");
  CHECK(reader.next() == nullptr);
  CHECK(reader.next() == nullptr);
}

TEST_CASE("limits hold (ATK-60, ATK-66)") {
  CHECK_THROWS_AS((void)members(RawTar().file("a").file("b").str(), {.entries = 1}), IntegrityError);
  CHECK_THROWS_AS((void)members(RawTar().file("a", "xxx").str(), {.file_size = 2}), IntegrityError);
  CHECK_THROWS_AS((void)members(RawTar().file("a", "xx").file("b", "xx").str(), {.total_size = 3}),
                  IntegrityError);
  check_refused(RawTar().pax({{"size", "9223372036854775807"}}).file("a"));
}

namespace {

const std::string kSparseWant =
    std::string(3, '\0') + "abc" + std::string(4, '\0') + "de" + std::string(8, '\0');

std::string pair(std::uint64_t offset, std::uint64_t size) {
  return RawTar::octal(offset, 11) + '\0' + RawTar::octal(size, 11) + '\0';
}

/// An old GNU sparse member.
RawTar gnu_sparse(const std::string& pairs, const std::string& content, std::uint64_t real_size,
                  const std::string& more = {}) {
  RawTar tar;
  tar.raw(RawTar::block({.name = "s",
                         .type = 'S',
                         .magic = kGnuTarMagic,
                         .patches = {{386, pairs},
                                     {482, std::string(1, more.empty() ? '\0' : '\1')},
                                     {483, RawTar::octal(real_size, 11)}}},
                        content.size()));
  return tar.raw(more).payload(content);
}

}  // namespace

TEST_CASE("old GNU sparse files are read with their holes") {
  const auto member = only(gnu_sparse(pair(3, 3) + pair(10, 2) + pair(20, 0), "abcde", 20));
  CHECK(member.entry.attributes.size == 20);
  CHECK(member.content == kSparseWant);
}

TEST_CASE("an old GNU sparse map may go on in further blocks") {
  std::string more = pair(40, 1) + pair(50, 1);
  more.resize(512);
  const auto member =
      only(gnu_sparse(pair(0, 1) + pair(10, 1) + pair(20, 1) + pair(30, 1), "abcdef", 51, more));
  CHECK(member.content.size() == 51);
  CHECK(member.content[40] == 'e');
  CHECK(member.content[50] == 'f');
  std::string endless(512, '\0');
  endless[504] = 1;
  check_refused(gnu_sparse(pair(0, 1), "a", 1, endless + endless));
}

TEST_CASE("PAX sparse files of all three formats are read") {
  const std::vector<RawTar> tars = {
      RawTar()
          .pax({{"GNU.sparse.size", "20"},
                {"GNU.sparse.numblocks", "2"},
                {"GNU.sparse.offset", "3"},
                {"GNU.sparse.numbytes", "3"},
                {"GNU.sparse.offset", "10"},
                {"GNU.sparse.numbytes", "2"}})
          .file("s", "abcde"),
      RawTar()
          .pax({{"GNU.sparse.size", "20"},
                {"GNU.sparse.name", "s"},
                {"GNU.sparse.numblocks", "2"},
                {"GNU.sparse.map", "3,3,10,2"}})
          .file("GNUSparseFile.1/s", "abcde"),
      RawTar()
          .pax({{"GNU.sparse.major", "1"},
                {"GNU.sparse.minor", "0"},
                {"GNU.sparse.name", "s"},
                {"GNU.sparse.realsize", "20"}})
          .file("GNUSparseFile.1/s", std::string("2\n3\n3\n10\n2\n") + std::string(501, '\0') + "abcde")};
  for (const auto& tar : tars) {
    const auto all = members(RawTar(tar).file("after", "z").str());
    REQUIRE(all.size() == 2);
    CHECK(all[0].entry.path == "s");
    CHECK(all[0].entry.attributes.size == 20);
    CHECK(all[0].content == kSparseWant);
    CHECK(all[1].content == "z");
  }
}

TEST_CASE("damaged sparse maps are refused (ATK-64)") {
  check_refused(gnu_sparse(pair(10, 2) + pair(3, 3), "abcde", 20));
  check_refused(gnu_sparse(pair(0, 3) + pair(2, 2), "abcde", 20));
  check_refused(gnu_sparse(pair(0, 3), "abcde", 20));
  check_refused(gnu_sparse(pair(18, 3), "abc", 20));
  check_refused(gnu_sparse(std::string("x") + pair(18, 3).substr(1), "abc", 20));
  for (const std::string map :
       {"3,3,10", "3", "a,b", "3,3,,2", "3,99999999999999999999", "18446744073709551615,5"}) {
    CAPTURE(map);
    check_refused(RawTar().pax({{"GNU.sparse.size", "20"}, {"GNU.sparse.map", map}}).file("s", "abcde"));
  }
  check_refused(RawTar().pax({{"GNU.sparse.map", "0,5"}}).file("s", "abcde"));
  check_refused(
      RawTar().pax({{"GNU.sparse.size", "99999999999999"}, {"GNU.sparse.map", "0,5"}}).file("s", "abcde"));
  const auto in_data = [](const std::string& data) {
    return RawTar()
        .pax({{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "20"}})
        .file("s", data);
  };
  check_refused(in_data("10000000\n"));
  check_refused(in_data("1\n0\n"));
  check_refused(in_data("x\n"));
  check_refused(in_data(""));
  check_refused(in_data(std::string(600, '1')));
  check_refused(RawTar()
                    .pax({{"GNU.sparse.major", "2"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "0"}})
                    .file("s"));
}
