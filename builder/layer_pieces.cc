#include "builder/layer_pieces.h"

#include <fcntl.h>
#include <libdeflate.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

// docs/formats/layer-pieces.md describes the bytes.
constexpr std::string_view kMagic = "imgbuild pieces 1\n";
constexpr std::size_t kChecksumSize = 4;
constexpr std::size_t kPieceSize = Digest::kSize + 8 + 4 + 4;
constexpr std::uint64_t kMaxListSize = std::uint64_t{256} << 20;

template <typename Number>
void put(std::string& out, Number value) {
  for (std::size_t i = 0; i < sizeof value; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
}

template <typename Number>
Number take(std::string_view& in) {
  Number value = 0;
  for (std::size_t i = sizeof value; i-- > 0;)
    value = static_cast<Number>(value << 8 | static_cast<unsigned char>(in[i]));
  in.remove_prefix(sizeof value);
  return value;
}

Digest take_digest(std::string_view& in) {
  std::array<std::byte, Digest::kSize> raw;
  std::memcpy(raw.data(), in.data(), raw.size());
  in.remove_prefix(raw.size());
  return Digest::from_bytes(raw);
}

std::uint32_t checksum(std::string_view bytes) { return libdeflate_crc32(0, bytes.data(), bytes.size()); }

bool read_at(int fd, std::span<char> out, std::uint64_t offset) {
  while (!out.empty()) {
    const ssize_t got = ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return true;
}

}  // namespace

std::string encode_pieces(const std::string& codec, const std::vector<PackedPiece>& pieces) {
  std::string body = cat(codec, '\n');
  body.reserve(body.size() + pieces.size() * kPieceSize);
  for (const PackedPiece& piece : pieces) {
    body.append(reinterpret_cast<const char*>(piece.plain.bytes().data()), Digest::kSize);
    put(body, piece.offset);
    put(body, piece.size);
    put(body, piece.packed_crc);
  }
  std::string out(kMagic);
  put(out, checksum(body));
  return out + body;
}

std::optional<std::vector<PackedPiece>> decode_pieces(std::string_view bytes, const std::string& codec) {
  if (!bytes.starts_with(kMagic) || bytes.size() < kMagic.size() + kChecksumSize) return std::nullopt;
  bytes.remove_prefix(kMagic.size());
  if (take<std::uint32_t>(bytes) != checksum(bytes)) return std::nullopt;
  const std::string first = cat(codec, '\n');
  if (!bytes.starts_with(first)) return std::nullopt;
  bytes.remove_prefix(first.size());
  if (bytes.size() % kPieceSize != 0) return std::nullopt;
  std::vector<PackedPiece> pieces;
  pieces.reserve(bytes.size() / kPieceSize);
  while (!bytes.empty()) {
    PackedPiece piece{.plain = take_digest(bytes)};
    piece.offset = take<std::uint64_t>(bytes);
    piece.size = take<std::uint32_t>(bytes);
    piece.packed_crc = take<std::uint32_t>(bytes);
    pieces.push_back(piece);
  }
  return pieces;
}

LayerPieces LayerPieces::open(const StoreDir& store, const oci::BlobStore& blobs, const Digest& blob,
                              const Compression& how) try {
  LayerPieces out;
  const UniqueFd list = open_at_if_exists(store.fd(), cat("pieces/", blob.hex()), O_RDONLY);
  if (!list || !blobs.find_blob(blob)) return out;
  const auto pieces =
      decode_pieces(read_file(list.get(), kMaxListSize, "list of pieces"), codec_identity(how));
  if (!pieces) return out;
  out.blob_ = blobs.open_blob_file(blob);
  if (!out.blob_) return out;
  out.pieces_.reserve(pieces->size());
  for (const PackedPiece& piece : *pieces) out.pieces_.emplace(piece.plain, piece);
  return out;
} catch (const Error&) {
  return {};  // it would only have saved time
}

std::size_t LayerPieces::load(const Digest& plain, std::span<char> out) const {
  const auto found = pieces_.find(plain);
  if (found == pieces_.end()) return 0;
  const PackedPiece& piece = found->second;
  if (piece.size > out.size()) return 0;
  out = out.first(piece.size);
  if (!read_at(blob_.get(), out, piece.offset)) return 0;
  return checksum({out.data(), out.size()}) == piece.packed_crc ? piece.size : 0;
}

void save_layer_pieces(const StoreDir& store, const Digest& blob, const Compression& how,
                       const std::vector<PackedPiece>& pieces) try {
  ensure_dir_at(store.fd(), "pieces", 0700);
  const UniqueFd dir = open_at(store.fd(), "pieces", O_RDONLY | O_DIRECTORY);
  store.publish(dir.get(), blob.hex(), encode_pieces(codec_identity(how), pieces));
} catch (const SystemError&) {
  // A full or read-only store; the layer itself is complete.
}

}  // namespace imgbuild::builder
