#include "base/compress.h"

#include <doctest/doctest.h>
#include <zlib.h>
#include <zstd.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/packed_pieces.h"

using namespace imgbuild;

namespace {

/// Digits of a simple generator: compresses to somewhat less than half.
std::string text(std::size_t size, std::uint32_t seed = 1) {
  std::string out;
  while (out.size() < size) {
    seed = seed * 1664525u + 1013904223u;
    out += std::to_string(seed >> 16);
  }
  out.resize(size);
  return out;
}

std::string noise(std::size_t size) {
  std::string out(size, '\0');
  std::uint64_t state = 88172645463325252u;
  for (auto& c : out) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    c = static_cast<char>(state >> 32);
  }
  return out;
}

std::string pack(const Compression& how, std::string_view bytes, ThreadPool* pool = nullptr,
                 std::size_t piece = 100'000) {
  StringSink out;
  const auto sink = make_compressor(how, out, pool);
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size())))
    sink->write(bytes.substr(0, piece));
  sink->finish();
  return out.take();
}

std::string unpack(CompressionKind kind, std::string packed, const DecompressLimits& limits = {}) {
  const auto source = make_decompressor(kind, std::make_unique<StringSource>(std::move(packed)), limits);
  return read_all(*source, 1u << 28, "test");
}

/// What plain zlib makes of it, and how many members it found.
std::pair<std::string, int> with_zlib(const std::string& packed) {
  z_stream stream{};
  REQUIRE(inflateInit2(&stream, 15 + 16) == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string out;
  int members = 0;
  std::string buffer(1 << 16, '\0');
  while (stream.avail_in > 0) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    const int status = inflate(&stream, Z_NO_FLUSH);
    REQUIRE((status == Z_OK || status == Z_STREAM_END));
    out.append(buffer, 0, buffer.size() - stream.avail_out);
    if (status == Z_STREAM_END) {
      ++members;
      inflateReset(&stream);
    }
  }
  inflateEnd(&stream);
  return {out, members};
}

std::string zlib_gzip(const std::string& bytes) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(bytes.size() + 1000, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

const Compression kGzip{CompressionKind::gzip, {}};
const Compression kZstd{CompressionKind::zstd, {}};

}  // namespace

TEST_CASE("what is compressed comes back, for any size and level") {
  for (const std::size_t size : {0u, 1u, 1000u, 262'144u, 1'048'576u, 1'048'577u, 5'000'000u}) {
    for (const auto& how :
         {Compression{CompressionKind::none, {}}, kGzip, Compression{CompressionKind::gzip, 0},
          Compression{CompressionKind::gzip, 1}, kZstd, Compression{CompressionKind::zstd, 0},
          Compression{CompressionKind::zstd, 1}}) {
      CAPTURE(size);
      CAPTURE(name_of(how.kind));
      const std::string plain = text(size);
      CHECK(unpack(how.kind, pack(how, plain)) == plain);
    }
  }
}

TEST_CASE("zlib reads our gzip; small inputs are one member, large ones several of 1 MiB") {
  const std::string small = text(300'000);
  CHECK(with_zlib(pack(kGzip, small)) == std::pair(small, 1));
  const std::string large = text(3'500'000);
  CHECK(with_zlib(pack(kGzip, large)) == std::pair(large, 4));
  CHECK(with_zlib(pack(kGzip, "")) == std::pair(std::string(), 1));
}

TEST_CASE("a gzip header says nothing about time, name or system") {
  CHECK(pack(kGzip, "x").substr(0, 10) == std::string("\x1f\x8b\x08\0\0\0\0\0\0\xff", 10));
}

TEST_CASE("the empty layer's 1024 zeros have the bytes everybody has") {
  const std::string expected(
      "\x1f\x8b\x08\0\0\0\0\0\0\xff\x62\x18\x05\xa3\x60\x14\x8c\x58\0\x08\0\0\xff\xff\x2e\xaf\xb5\xef\0\x04\0"
      "\0",
      32);
  CHECK(pack(kGzip, std::string(1024, '\0')) == expected);
  CHECK(pack(kGzip, std::string(1024, '\0'), nullptr, 512) == expected);
  CHECK(unpack(CompressionKind::gzip, expected) == std::string(1024, '\0'));
  CHECK(pack(kGzip, std::string(1023, '\0') + "x") != expected);
}

TEST_CASE("neither threads nor the size of writes change the bytes") {
  const std::string plain = text(6'000'000) + noise(2'000'000);
  for (const auto& how : {kGzip, kZstd, Compression{CompressionKind::zstd, 9}}) {
    const std::string expected = pack(how, plain);
    for (const std::size_t threads : {1u, 2u, 4u}) {
      ThreadPool pool(threads);
      for (const std::size_t piece : {1'000u, 131'072u, 9'000'000u}) {
        CAPTURE(threads);
        CAPTURE(piece);
        CHECK(pack(how, plain, &pool, piece) == expected);
      }
    }
  }
}

TEST_CASE("what is larger than a member gets its own members when there is a boundary before it") {
  const auto with_first = [](const std::string& first) {
    StringSink out;
    const auto sink = make_compressor(kGzip, out, nullptr);
    sink->write(first);
    sink->boundary();
    sink->write(text(1'700'000, 5));
    sink->boundary();
    sink->finish();
    return out.take();
  };
  const std::string tail = pack(kGzip, text(1'700'000, 5));
  CHECK(with_first(text(30'000, 1)).ends_with(tail));
  CHECK(with_first(text(29'000, 2)).ends_with(tail));
  CHECK(with_zlib(with_first(text(1000))) == std::pair(text(1000) + text(1'700'000, 5), 3));
}

namespace {

/// Pieces held in memory.
class StoredPieces final : public PackedPieces {
 public:
  StoredPieces(std::string packed, PackedReport report)
      : packed_(std::move(packed)), report_(std::move(report)) {}
  std::size_t load(const Digest& plain, std::span<char> out) const override {
    for (const auto& piece : report_.pieces) {
      if (piece.plain != plain) continue;
      REQUIRE(piece.size <= out.size());
      packed_.copy(out.data(), piece.size, piece.offset);
      ++loads;
      return piece.size;
    }
    return 0;
  }
  mutable std::atomic<int> loads = 0;

 private:
  std::string packed_;
  PackedReport report_;
};

std::string pack_all(const std::vector<std::string>& items, const PackedPieces* pieces, PackedReport* report,
                     ThreadPool* pool = nullptr, const Compression& how = kGzip) {
  StringSink out;
  const auto sink = make_compressor(how, out, pool, pieces, report);
  for (const auto& item : items) {
    sink->write(item);
    sink->boundary();
  }
  sink->finish();
  return out.take();
}

std::vector<std::string> many_items(std::size_t count) {
  std::vector<std::string> items;
  for (std::size_t i = 0; i < count; ++i)
    items.push_back(text(1500 + i % 7 * 900, static_cast<std::uint32_t>(i + 1)));
  return items;
}

}  // namespace

TEST_CASE(
    "after a change most members are taken from the earlier stream, and the bytes are as if none were") {
  const auto items = many_items(3000);  // 12 MB
  const StoredPieces nothing({}, {});
  PackedReport first;
  const std::string before = pack_all(items, &nothing, &first);
  CHECK(first.reused_bytes == 0);
  CHECK(first.pieces.size() > 12);
  CHECK(pack_all(items, nullptr, nullptr) == before);

  const StoredPieces pieces(before, first);
  ThreadPool pool(3);
  std::vector<std::vector<std::string>> edits(5, items);
  edits[0][1234] = text(1500 + 1234 % 7 * 900, 77);
  edits[1][1234] += "longer";
  edits[2].insert(edits[2].begin() + 100, text(5000, 9));
  edits[3].erase(edits[3].begin() + 2000, edits[3].begin() + 2010);
  edits[4].push_back(text(3'000'000, 8));
  for (std::size_t i = 0; i < edits.size(); ++i) {
    CAPTURE(i);
    PackedReport report;
    const std::string after = pack_all(edits[i], &pieces, &report, &pool);
    CHECK(after == pack_all(edits[i], nullptr, nullptr));
    if (i < 4) CHECK(report.reused_bytes > before.size() * 3 / 4);
    PackedReport again;
    const StoredPieces next(after, report);
    CHECK(pack_all(edits[i], &next, &again) == after);
    CHECK(again.pieces == report.pieces);
    CHECK(again.packed_bytes == 0);
  }
}

TEST_CASE("pieces tell where their bytes stand") {
  const StoredPieces nothing({}, {});
  PackedReport report;
  const auto items = many_items(500);
  const std::string packed = pack_all(items, &nothing, &report);
  std::string plain;
  for (const auto& piece : report.pieces) {
    const std::string bytes = unpack(CompressionKind::gzip, packed.substr(piece.offset, piece.size));
    CHECK(sha256(bytes) == piece.plain);
    plain += bytes;
  }
  CHECK(plain == unpack(CompressionKind::gzip, packed));
}

TEST_CASE("without a level the size stays near that of level 6") {
  for (const std::string& plain : {text(3'000'000), noise(1'000'000) + text(2'000'000)}) {
    const std::size_t usual = pack({CompressionKind::gzip, 6}, plain).size();
    CHECK(pack(kGzip, plain).size() < usual * 106 / 100);
  }
  const std::string small = text(100'000);
  CHECK(pack(kGzip, small) == pack({CompressionKind::gzip, 6}, small));
}

TEST_CASE("data that does not shrink is stored") {
  const std::string plain = noise(3 << 20);
  const std::string packed = pack(kGzip, plain);
  CHECK(packed.size() > plain.size());
  CHECK(packed.size() < plain.size() + 1000);
  CHECK(with_zlib(packed).first == plain);
}

TEST_CASE("compressible pieces in noise still shrink") {
  const std::string plain = noise(512 << 10) + text(512 << 10);
  CHECK(pack(kGzip, plain).size() < plain.size() * 8 / 10);
}

namespace {

/// Takes its time, and counts who is inside.
class SlowPieces final : public PackedPieces {
 public:
  std::size_t load(const Digest&, std::span<char>) const override {
    ++inside;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    --inside;
    return 0;
  }
  mutable std::atomic<int> inside{0};
};

}  // namespace

TEST_CASE("a stream that is given up uses its pieces no more") {
  ThreadPool pool(3);
  for (int i = 0; i < 5; ++i) {
    const SlowPieces pieces;
    PackedReport report;
    StringSink out;
    {
      const auto sink = make_compressor(kGzip, out, &pool, &pieces, &report);
      sink->write(text(4 << 20));
      std::this_thread::sleep_for(std::chrono::milliseconds(5));  // until some block is on its way
    }
    CHECK(pieces.inside == 0);
  }
}

TEST_CASE("levels out of range are refused") {
  StringSink out;
  CHECK_THROWS_AS((void)make_compressor({CompressionKind::gzip, 10}, out, nullptr), Error);
  CHECK_THROWS_AS((void)make_compressor({CompressionKind::gzip, -1}, out, nullptr), Error);
  CHECK_THROWS_AS((void)make_compressor({CompressionKind::zstd, 23}, out, nullptr), Error);
  CHECK_NOTHROW((void)make_compressor({CompressionKind::zstd, 22}, out, nullptr));
}

TEST_CASE("gzip from elsewhere is read: one large member, several, empty ones between") {
  const std::string large = text(4'000'000);
  const std::string empty = zlib_gzip("");
  CHECK(unpack(CompressionKind::gzip, zlib_gzip(large)) == large);
  CHECK(unpack(CompressionKind::gzip, empty + zlib_gzip("a") + empty + zlib_gzip(large) + zlib_gzip("b") +
                                          empty) == "a" + large + "b");
}

TEST_CASE(
    "damaged gzip is refused: cut anywhere, changed anywhere that matters, with bytes behind it (ATK-67, "
    "ATK-68)") {
  for (const std::string& packed :
       {zlib_gzip(text(3000)), zlib_gzip(text(2'000'000)), pack(kGzip, text(2'000'000))}) {
    const std::size_t step = packed.size() / 50 + 1;
    for (std::size_t length = 0; length < packed.size(); length += step) {
      // Between two members of ours the stream is whole.
      if (length > 0 && packed.size() > 100'000 && packed.compare(length, 4, "\x1f\x8b\x08\0", 4) == 0)
        continue;
      CAPTURE(length);
      CHECK_THROWS_AS((void)unpack(CompressionKind::gzip, packed.substr(0, length)), IntegrityError);
    }
    for (const std::size_t from_end : {1u, 4u, 5u, 8u}) {
      std::string damaged = packed;
      damaged[packed.size() - from_end] = static_cast<char>(damaged[packed.size() - from_end] ^ 1);
      CHECK_THROWS_AS((void)unpack(CompressionKind::gzip, damaged), IntegrityError);
    }
    CHECK_THROWS_AS((void)unpack(CompressionKind::gzip, packed + std::string(512, '\0')), IntegrityError);
    CHECK_THROWS_AS((void)unpack(CompressionKind::gzip, packed + "junk"), IntegrityError);
    CHECK_THROWS_AS((void)unpack(CompressionKind::gzip, packed + "\x1f"), IntegrityError);
  }
}

TEST_CASE("damaged zstd is refused (ATK-67)") {
  const std::string packed = pack(kZstd, text(500'000));
  for (std::size_t length = 0; length < packed.size(); length += 997) {
    CAPTURE(length);
    CHECK_THROWS_AS((void)unpack(CompressionKind::zstd, packed.substr(0, length)), IntegrityError);
  }
  std::string damaged = packed;
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  CHECK_THROWS_AS((void)unpack(CompressionKind::zstd, damaged), IntegrityError);
  CHECK_THROWS_AS((void)unpack(CompressionKind::zstd, packed + "junkjunk"), IntegrityError);
  CHECK_THROWS_AS((void)unpack(CompressionKind::zstd, packed + "j"), IntegrityError);
}

TEST_CASE("several zstd frames and small skippable ones are read, large skippable ones refused") {
  const std::string frame = pack(kZstd, "hello");
  const auto skippable = [](std::uint32_t size) {
    std::string out("\x5a\x2a\x4d\x18", 4);
    for (int i = 0; i < 4; ++i) out += static_cast<char>(size >> (8 * i) & 0xFF);
    return out + std::string(size, 's');
  };
  CHECK(unpack(CompressionKind::zstd, frame + skippable(1000) + frame + skippable(0)) == "hellohello");
  CHECK(unpack(CompressionKind::zstd, skippable(3) + frame) == "hello");
  CHECK_THROWS_AS((void)unpack(CompressionKind::zstd, frame + skippable(16 << 20) + skippable(1)),
                  IntegrityError);
  CHECK_THROWS_AS((void)unpack(CompressionKind::zstd, frame + skippable(100).substr(0, 50)), IntegrityError);
}

TEST_CASE("a zstd window of more than 128 MiB is refused (ATK-66)") {
  // Frame header: no content size, window descriptor 18 << 3 (2^28 bytes), then an empty last raw block.
  const std::string frame("\x28\xb5\x2f\xfd\x00\x90\x01\x00\x00", 9);
  CHECK_THROWS_AS((void)unpack(CompressionKind::zstd, frame), IntegrityError);
  const std::string allowed("\x28\xb5\x2f\xfd\x00\x88\x01\x00\x00", 9);
  CHECK(unpack(CompressionKind::zstd, allowed).empty());
}

TEST_CASE("our zstd has a checksum, no content size and a window of at most 8 MiB") {
  for (const int level : {3, 19, 22}) {
    const std::string packed = pack({CompressionKind::zstd, level}, text(100'000));
    const auto descriptor = static_cast<unsigned char>(packed[4]);
    CHECK((descriptor & 4) != 0);
    CHECK((descriptor >> 6) == 0);
    CHECK((descriptor & 0x20) == 0);
    CHECK((static_cast<unsigned char>(packed[5]) >> 3) + 10 <= 23);
  }
}

TEST_CASE("only the format that was announced is read (ATK-69)") {
  const std::string gzip = pack(kGzip, "x");
  const std::string zstd = pack(kZstd, "x");
  CHECK_THROWS_AS((void)unpack(CompressionKind::gzip, zstd), IntegrityError);
  CHECK_THROWS_AS((void)unpack(CompressionKind::zstd, gzip), IntegrityError);
  CHECK_THROWS_AS((void)unpack(CompressionKind::none, gzip), IntegrityError);
  CHECK_THROWS_AS((void)unpack(CompressionKind::none, zstd), IntegrityError);
  CHECK_THROWS_AS((void)unpack(CompressionKind::gzip, "plain"), IntegrityError);
  CHECK_THROWS_AS((void)unpack(CompressionKind::gzip, ""), IntegrityError);
  CHECK_THROWS_AS((void)unpack(CompressionKind::zstd, ""), IntegrityError);
  CHECK(unpack(CompressionKind::none, "plain") == "plain");
  CHECK(unpack(CompressionKind::none, "").empty());
  CHECK(sniff_compression(gzip) == CompressionKind::gzip);
  CHECK(sniff_compression(zstd) == CompressionKind::zstd);
  CHECK(sniff_compression("plain") == CompressionKind::none);
  CHECK(sniff_compression("") == CompressionKind::none);
}

TEST_CASE("output beyond the limit is refused (ATK-66)") {
  const std::string packed = pack(kGzip, std::string(100'000, '\0'));
  CHECK(unpack(CompressionKind::gzip, packed, {.max_output = 100'000}).size() == 100'000);
  CHECK_THROWS_AS((void)unpack(CompressionKind::gzip, packed, {.max_output = 99'999}), IntegrityError);
}

TEST_CASE("codec identities tell kinds and levels apart and make the default explicit") {
  CHECK(codec_identity(kGzip) != codec_identity({CompressionKind::gzip, 6}));
  CHECK(codec_identity(kGzip) != codec_identity({CompressionKind::gzip, 5}));
  CHECK(codec_identity(kZstd) != codec_identity(kGzip));
}
