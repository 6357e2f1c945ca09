#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/digest.h"

namespace imgbuild {

/// A part of a compressed stream that can be decompressed by itself and stand in another stream as it is.
struct PackedPiece {
  Digest plain;                  ///< of what it decompresses to
  std::uint64_t offset = 0;      ///< in the compressed stream
  std::uint32_t size = 0;        ///< compressed
  std::uint32_t packed_crc = 0;  ///< CRC-32 of the compressed bytes: notices what a disk got wrong
  bool operator==(const PackedPiece&) const = default;
};

/// Pieces of an earlier stream, compressed in the same way. Thread-safe.
class PackedPieces {
 public:
  virtual ~PackedPieces() = default;
  /// Puts the compressed bytes of the piece that decompresses to what has the digest `plain` into the front
  /// of `out` and returns how many; 0 when there is none, it is larger than `out` or cannot be read intact.
  virtual std::size_t load(const Digest& plain, std::span<char> out) const = 0;
};

/// What a compressor tells about the stream it made.
struct PackedReport {
  std::vector<PackedPiece> pieces;  ///< in the order of the stream; not all of it need be covered
  std::uint64_t reused_bytes = 0;   ///< compressed bytes that were taken from the earlier stream
  std::uint64_t packed_bytes = 0;   ///< plain bytes that had to be compressed
};

}  // namespace imgbuild
