#include "oci/layer_index.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "base/hash.h"

using namespace imgbuild;
using namespace imgbuild::oci;

namespace {

LayerEntry node(std::string path, FileType type) {
  LayerEntry entry;
  entry.path = std::move(path);
  entry.attributes.type = type;
  entry.attributes.mode = 0644;
  return entry;
}

LayerIndex sample() {
  LayerIndex index;
  auto directory = node("usr/share", FileType::directory);
  directory.attributes.mode = 01777;
  directory.attributes.mtime = {-5, 999'999'999};
  index.entries.push_back(directory);

  auto file = node("usr/share/\xff\n", FileType::regular);
  file.attributes.size = 0xFFFF'FFFF'FFFF'FFFFu;
  file.attributes.uid = 0xFFFF'FFFEu;
  file.attributes.gid = 3'000'000;
  file.attributes.xattrs = {{"security.capability", std::string("\0\1\2", 3)}, {"user.a", ""}};
  file.content = sha256("content");
  index.entries.push_back(file);

  auto link = node("usr/share/link", FileType::symlink);
  link.attributes.link_target = "../../etc/passwd";
  index.entries.push_back(link);

  auto device = node("dev/null", FileType::char_device);
  device.attributes.device_major = 1;
  device.attributes.device_minor = 3;
  index.entries.push_back(device);

  LayerEntry hard;
  hard.kind = LayerEntry::Kind::hard_link;
  hard.path = "usr/share/other";
  hard.hard_link_target = "usr/share/\xff\n";
  index.entries.push_back(hard);

  LayerEntry gone;
  gone.kind = LayerEntry::Kind::whiteout;
  gone.path = "etc/motd";
  index.entries.push_back(gone);
  gone.kind = LayerEntry::Kind::opaque;
  gone.path = "etc";
  index.entries.push_back(gone);
  return index;
}

}  // namespace

TEST_CASE("a layer index survives being stored") {
  const LayerIndex index = sample();
  CHECK(LayerIndex::parse(index.serialize()).entries == index.entries);
  CHECK(LayerIndex::parse(LayerIndex().serialize()).entries.empty());
}

TEST_CASE("equal indexes have equal bytes") { CHECK(sample().serialize() == sample().serialize()); }

TEST_CASE("a stored index with any byte changed is refused") {
  const std::string bytes = sample().serialize();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const char flip : {'\x01', '\x80'}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ flip);
      CAPTURE(i);
      CHECK_THROWS_AS((void)LayerIndex::parse(damaged), IntegrityError);
    }
  }
}

TEST_CASE("a stored index cut anywhere or made longer is refused") {
  const std::string bytes = sample().serialize();
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    CAPTURE(length);
    CHECK_THROWS_AS((void)LayerIndex::parse(bytes.substr(0, length)), IntegrityError);
  }
  CHECK_THROWS_AS((void)LayerIndex::parse(bytes + '\0'), IntegrityError);
}

TEST_CASE("the chain ID of one layer is its diff ID, and of more the digest of both texts") {
  const DiffId empty{
      Digest::parse("sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef")};
  const DiffId second{
      Digest::parse("sha256:6e7809183f15338b2d9a954ad3220df2e6e643a3188c8a438cd01408d6d69d09")};
  const ChainId bottom = chain(std::nullopt, empty);
  CHECK(bottom.value == empty.value);
  CHECK(chain(bottom, second).value.str() ==
        "sha256:fd537e51d35b5b1363100e4a49b577ef2291cc03a02a60d87012b2f01d85c634");
}
