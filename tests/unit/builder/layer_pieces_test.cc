#include "builder/layer_pieces.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/temp_dir.h"
#include "oci/disk_blob_store.h"

using namespace imgbuild;
using namespace imgbuild::builder;

namespace {

const Compression kGzip{CompressionKind::gzip, {}};

/// A store with one blob "abcdefgh" of which "cde" is a piece of what hashes like "plain".
struct Store {
  TempDir dir = TempDir::create("/tmp", "pieces-test");
  oci::DiskBlobStore blobs{dir.fd()};
  Digest blob = oci::put_blob(blobs, "abcdefgh");
  PackedPiece piece{.plain = sha256("plain"), .offset = 2, .size = 3, .packed_crc = crc("cde")};

  static std::uint32_t crc(const std::string& bytes) {
    std::uint32_t value = ~0u;
    for (const char c : bytes) {
      value ^= static_cast<unsigned char>(c);
      for (int i = 0; i < 8; ++i) value = value >> 1 ^ (0xEDB88320u & (0u - (value & 1)));
    }
    return ~value;
  }
  std::string load(const Compression& how = kGzip, std::size_t room = 100) const {
    std::string out(room, '?');
    const auto pieces = LayerPieces::open(dir.fd(), blobs, blob, how);
    out.resize(pieces.load(sha256("plain"), out));
    return out;
  }
  void overwrite(const std::string& name, const std::string& bytes) const {
    const UniqueFd file = open_at(dir.fd(), name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    write_all(file.get(), bytes);
  }
};

}  // namespace

TEST_CASE("pieces of a stored layer are found by what they decompress to") {
  const Store store;
  CHECK(store.load().empty());
  save_layer_pieces(store.dir.fd(), store.blob, kGzip, {store.piece});
  CHECK(store.load() == "cde");
  CHECK(store.load(kGzip, 3) == "cde");
  CHECK(store.load(kGzip, 2).empty());
  CHECK(LayerPieces::open(store.dir.fd(), store.blobs, store.blob, kGzip).load(sha256("other"), {}) == 0);
}

TEST_CASE("pieces compressed in another way are not used") {
  const Store store;
  save_layer_pieces(store.dir.fd(), store.blob, kGzip, {store.piece});
  CHECK(store.load({CompressionKind::gzip, 6}).empty());
}

TEST_CASE("a piece whose bytes changed, or that lies outside of its blob, is not there") {
  Store store;
  ++store.piece.packed_crc;
  save_layer_pieces(store.dir.fd(), store.blob, kGzip, {store.piece});
  CHECK(store.load().empty());
  --store.piece.packed_crc;
  store.piece.offset = 6;
  save_layer_pieces(store.dir.fd(), store.blob, kGzip, {store.piece});
  CHECK(store.load().empty());
  store.piece.offset = ~std::uint64_t{0};
  save_layer_pieces(store.dir.fd(), store.blob, kGzip, {store.piece});
  CHECK(store.load().empty());
}

TEST_CASE("a list whose layer is gone is no list") {
  const Store store;
  save_layer_pieces(store.dir.fd(), sha256("gone"), kGzip, {store.piece});
  CHECK(LayerPieces::open(store.dir.fd(), store.blobs, sha256("gone"), kGzip).count() == 0);
}

TEST_CASE("damaged lists are refused whole") {
  const Store store;
  const std::string codec = codec_identity(kGzip);
  const std::vector<PackedPiece> pieces(3, store.piece);
  const std::string good = encode_pieces(codec, pieces);
  REQUIRE(decode_pieces(good, codec) == pieces);
  CHECK_FALSE(decode_pieces(good, "another codec"));
  for (std::size_t i = 0; i < good.size(); ++i) {
    CAPTURE(i);
    CHECK_FALSE(decode_pieces(good.substr(0, i), codec));
    std::string changed = good;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    CHECK_FALSE(decode_pieces(changed, codec));
  }
  CHECK_FALSE(decode_pieces(good + "x", codec));
}

TEST_CASE("a store that takes no list is no error") {
  const Store store;
  store.overwrite("pieces", "a file where the directory should be");
  CHECK_NOTHROW(save_layer_pieces(store.dir.fd(), store.blob, kGzip, {store.piece}));
  CHECK(store.load().empty());
}
