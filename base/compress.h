#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/stream.h"
#include "base/thread_pool.h"

namespace imgbuild {

class PackedPieces;
struct PackedReport;

enum class CompressionKind : std::uint8_t { none, gzip, zstd };

/// "none", "gzip", "zstd".
std::string_view name_of(CompressionKind kind);

/// How to compress. Levels: gzip 0…9, zstd 0…22. Without a level: 3 for zstd (LAY-53); for gzip each block
/// gets the fastest of a few levels that keeps the size near that of level 6 (docs/adr/0010).
struct Compression {
  CompressionKind kind = CompressionKind::gzip;
  std::optional<int> level;
};

/// Names the compressor's output: two equal identities give equal bytes for equal input (LAY-48).
std::string codec_identity(const Compression& how);

/// A sink that compresses into `out`, which must outlive it; `finish()` finishes `out` too. The output
/// depends on the bytes written, the calls of boundary() and the level alone: neither the number of threads
/// nor how the bytes were cut into writes nor `pieces` changes it. Blocks are compressed on `pool` (nullptr:
/// on the calling thread); at most pool->size() + 3 of them are in memory. May be used from a task of the
/// same pool.
///
/// gzip: several members of at most 1 MiB of input each, a single one for small inputs. Members end at a
/// boundary() wherever there is one, at such as make members of unchanged input stay what they were. Blocks
/// that do not shrink are stored. zstd: one frame with a checksum and a window of at most 8 MiB; boundaries
/// are ignored.
///
/// Members that `pieces` has are taken from there; it must hold what a compressor with the same
/// codec_identity() made. `report` is complete after finish(). Both may be null, and zstd uses neither.
///
/// Throws Error for a level out of range.
std::unique_ptr<Sink> make_compressor(const Compression& how, Sink& out, ThreadPool* pool,
                                      const PackedPieces* pieces = nullptr, PackedReport* report = nullptr);

struct DecompressLimits {
  /// More output than this is an error. The default is the limit of a layer.
  std::uint64_t max_output = std::uint64_t{128} << 30;
};

/// Decompresses exactly `kind`, never guessing (FS-35): bytes of another format are refused, uncompressed
/// ones too when they start like gzip or zstd. Every checksum and length is verified; anything behind the
/// last member or frame is an error. The end of stream is reported only after `from` was read to its own end.
/// Throws IntegrityError.
std::unique_ptr<Source> make_decompressor(CompressionKind kind, std::unique_ptr<Source> from,
                                          const DecompressLimits& limits = {});

/// What a stream that starts with these bytes is; 4 bytes are enough. `none` when it is neither gzip nor
/// zstd.
CompressionKind sniff_compression(std::string_view start) noexcept;

}  // namespace imgbuild
