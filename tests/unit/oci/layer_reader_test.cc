#include "oci/layer_reader.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "oci/file_tree.h"
#include "oci/layer_order.h"
#include "oci/layer_writer.h"
#include "tests/support/layer_entries.h"
#include "tests/support/memory_blob_store.h"
#include "tests/support/raw_tar.h"

using namespace imgbuild;
using namespace imgbuild::oci;
using namespace imgbuild::tests;

namespace {

LayerIndex index_of(const RawTar& tar) {
  StringSource source(tar.str());
  return read_layer(source).take_index();
}

std::string names(const LayerIndex& index) {
  std::string out;
  for (const auto& entry : index.entries) {
    if (!out.empty()) out += ' ';
    if (entry.kind == LayerEntry::Kind::whiteout) out += '-';
    if (entry.kind == LayerEntry::Kind::opaque) out += '!';
    out += entry.path;
    if (entry.kind == LayerEntry::Kind::hard_link) out += "=" + entry.hard_link_target;
  }
  return out;
}

/// Entries with everything that can be written, in layer order.
std::vector<PendingEntry> everything() {
  std::vector<PendingEntry> entries;
  auto file = pending(file_entry("d/caf\xc3\xa9 " + std::string(150, 'x')), "content");
  file.entry.attributes.xattrs = {{"user.a", std::string("\0\xff", 2)}, {"security.capability", "cap"}};
  file.entry.attributes.uid = 3'000'000;
  file.entry.attributes.mode = 06755;
  file.entry.attributes.mtime = {-77, 0};
  const std::string first = file.entry.path;
  entries.push_back(file);
  entries.push_back(pending(hard_link_entry("d/z", first)));
  entries.push_back(pending(dir_entry("d", 01777)));
  entries.push_back(pending(whiteout_entry("d/" + std::string(252, 'w'))));
  entries.push_back(pending(symlink_entry("d/l", std::string(4095, 't'))));
  entries.push_back(pending(symlink_entry("d/m", "\xff")));
  auto device = node_entry("d/n", FileType::char_device, 0600);
  device.attributes.device_major = 4095;
  device.attributes.device_minor = 1'048'575;
  entries.push_back(pending(device));
  entries.push_back(pending(node_entry("d/p", FileType::fifo, 0644)));
  std::string deep = "d";
  for (int i = 0; i < 12; ++i) {
    deep += "/" + std::string(255, 'e');
    entries.push_back(pending(dir_entry(deep)));
  }
  entries.push_back(pending(file_entry(deep + "/f"), std::string(1000, '\0')));
  return order_entries(entries);
}

}  // namespace

TEST_CASE("what is written is read back, names, attributes and links") {
  for (const auto kind : {CompressionKind::none, CompressionKind::gzip, CompressionKind::zstd}) {
    MemoryBlobStore store;
    const auto written = write_layer(everything(), {kind, {}}, store, nullptr);
    const LayerIndex read = index_layer(store, written.layer);
    CHECK(read.entries == written.index.entries);
    CHECK(LayerIndex::parse(read.serialize()).entries == read.entries);
  }
}

TEST_CASE("a visitor gets the bytes") {
  MemoryBlobStore store;
  const auto written =
      write_layer({pending(file_entry("a"), "one"), pending(file_entry("b"), "two")}, {}, store, nullptr);
  std::string seen;
  const auto plain = open_layer(store, written.layer);
  (void)read_layer(*plain, [&](const LayerEntry& entry, Placement, TarReader& reader, const TarMember&) {
    TarContent content(reader);
    seen += entry.path + "=" + read_all(content, 100, "member") + " ";
  });
  CHECK(seen == "a=one b=two ");
}

TEST_CASE("a layer that is not what its descriptor says is refused (ATK-69, ATK-93)") {
  MemoryBlobStore store;
  const auto layer = write_layer({pending(file_entry("a"), "one")}, {}, store, nullptr).layer;
  CHECK(index_layer(store, layer).entries.size() == 1);

  LayerBlob wrong = layer;
  wrong.diff_id.value = sha256("else");
  CHECK_THROWS_AS((void)index_layer(store, wrong), IntegrityError);
  wrong = layer;
  wrong.blob.size += 1;
  CHECK_THROWS_AS((void)index_layer(store, wrong), IntegrityError);
  wrong = layer;
  wrong.blob.media_type = "application/vnd.oci.image.layer.v1.tar+zstd";
  CHECK_THROWS_AS((void)index_layer(store, wrong), IntegrityError);
  wrong.blob.media_type = "application/vnd.oci.image.layer.v1.tar";
  CHECK_THROWS_AS((void)index_layer(store, wrong), IntegrityError);
  wrong.blob.media_type = "application/zip";
  CHECK_THROWS_AS((void)index_layer(store, wrong), UnsupportedError);

  std::string damaged = store.blob(layer.blob.digest);
  damaged[9] = 3;  // the header's system byte: the tar inside stays the same
  store.plant(layer.blob.digest, damaged);
  CHECK_THROWS_AS((void)index_layer(store, layer), IntegrityError);
}

TEST_CASE("bytes behind the end of the archive belong to the diff ID (ATK-68)") {
  MemoryBlobStore store;
  const std::string tar = RawTar().file("a").str() + std::string(5000, 'z');
  const Digest digest = sha256(tar);
  store.plant(digest, tar);
  const LayerBlob layer{
      .blob = {.media_type = "application/vnd.oci.image.layer.v1.tar", .digest = digest, .size = tar.size()},
      .diff_id = DiffId{digest}};
  CHECK(names(index_layer(store, layer)) == "a");
  LayerBlob wrong = layer;
  wrong.diff_id.value = sha256(tar.substr(0, 2048));
  CHECK_THROWS_AS((void)index_layer(store, wrong), IntegrityError);
}

TEST_CASE("media types of OCI and Docker layers are known") {
  CHECK(layer_compression("application/vnd.docker.image.rootfs.diff.tar.gzip") == CompressionKind::gzip);
  CHECK(layer_compression("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip") ==
        CompressionKind::gzip);
  CHECK(layer_compression("application/vnd.docker.image.rootfs.diff.tar") == CompressionKind::none);
  CHECK(layer_compression("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip") ==
        CompressionKind::gzip);
  for (const auto kind : {CompressionKind::none, CompressionKind::gzip, CompressionKind::zstd}) {
    CHECK(layer_compression(layer_media_type(kind)) == kind);
  }
  CHECK_THROWS_AS((void)layer_compression("application/vnd.oci.image.layer.v1.tar+lz4"), UnsupportedError);
}

TEST_CASE("the index has every path once, as the last entry left it") {
  CHECK(names(index_of(RawTar().file("a").file("b").file("a", "x"))) == "b a");
  CHECK(names(index_of(RawTar().dir("a/").file("a/x").file("a"))) == "a");
  CHECK(names(index_of(RawTar().dir("a/").file("a/.wh.x").file("a"))) == "a");
  CHECK(names(index_of(RawTar().dir("a/").file("a/.wh..wh..opq").file("a/.wh..wh..opq").file("a/x"))) ==
        "a !a a/x");
  CHECK(names(index_of(RawTar().file(".wh.a").file(".wh.a"))) == "-a");
  const auto index =
      index_of(RawTar().dir("a/").file("a/x").member({.name = "a", .type = '5', .mode = "0000700"}));
  CHECK(names(index) == "a a/x");
  CHECK(index.entries[0].attributes.mode == 0700);
}

TEST_CASE("paths in the index are real ones") {
  CHECK(names(index_of(
            RawTar().link("lib", "usr/lib").file("lib/x").hard("lib/y", "lib/x").file("lib/.wh.z"))) ==
        "lib usr/lib/x usr/lib/y=usr/lib/x -usr/lib/z");
}

TEST_CASE("a hard link whose target goes becomes the file") {
  CHECK(names(index_of(RawTar().file("a", "x").hard("b", "a").hard("c", "a").file("a"))) == "b c=b a");
  CHECK(names(index_of(RawTar()
                           .dir("d/")
                           .file("d/a", "x")
                           .hard("b", "d/a")
                           .hard("d/c", "b")
                           .hard("e", "d/c")
                           .file("d"))) == "b e=b d");
  CHECK(index_of(RawTar().file("a", "xyz").hard("b", "a").file("a")).entries[0].attributes.size == 3);
}

TEST_CASE("many replacements of one name take no more than linear time (ATK-56)") {
  RawTar tar;
  for (int i = 0; i < 3000; ++i)
    tar.dir("a/").file("a/.wh.x").file("a/y").hard("a/z", "a/y").file("a").link("a", "b");
  CHECK(names(index_of(tar)) == "a");
}

TEST_CASE("a layer cannot make paths longer than 4096 bytes through links (ATK-53)") {
  std::string deep;
  for (int i = 0; i < 12; ++i) deep += (i == 0 ? "" : "/") + std::string(250, 'd');
  CHECK_THROWS_AS(
      (void)index_of(
          RawTar().pax({{"linkpath", deep}}).link("l", "x").pax({{"path", "l/" + deep + "/f"}}).file("f")),
      IntegrityError);
}
