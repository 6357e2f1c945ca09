#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/stream.h"
#include "base/thread_pool.h"

namespace imgbuild {

enum class CompressionKind : std::uint8_t { none, gzip, zstd };

/// "none", "gzip", "zstd".
std::string_view name_of(CompressionKind kind);

/// How to compress. Without a level: 6 for gzip, 3 for zstd (LAY-53). Levels: gzip 0…9, zstd 0…22.
struct Compression {
  CompressionKind kind = CompressionKind::gzip;
  std::optional<int> level;
};

/// Names the compressor's output: two equal identities give equal bytes for equal input (LAY-48).
std::string codec_identity(const Compression& how);

/// A sink that compresses into `out`, which must outlive it; `finish()` finishes `out` too. The output
/// depends on the bytes written, the calls of boundary() and the level alone: neither the number of threads
/// nor how the bytes were cut into writes changes it. Blocks are compressed on `pool` (nullptr: on the
/// calling thread); at most pool->size() + 2 of them are in memory. May be used from a task of the same pool.
///
/// gzip: several members of at most 1 MiB of input each, a single one for small inputs; a member ends at a
/// boundary() when it has at least 256 KiB, so that members of unchanged input stay as they were. Blocks that
/// do not shrink are stored. zstd: one frame with a checksum and a window of at most 8 MiB; boundaries are
/// ignored.
///
/// Throws Error for a level out of range.
std::unique_ptr<Sink> make_compressor(const Compression& how, Sink& out, ThreadPool* pool);

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
