#include "base/compress.h"

#include <libdeflate.h>
#include <zstd.h>

#include "base/error.h"
#include "base/gunzip_source.h"
#include "base/gzip_sink.h"
#include "base/input_window.h"
#include "base/strings.h"
#include "base/zstd_stream.h"

namespace imgbuild {

namespace {

constexpr int kDefaultZstdLevel = 3;
constexpr int kMaxGzipLevel = 9;
constexpr int kMaxZstdLevel = 22;
constexpr std::size_t kMaxZstdThreads = 4;  // LAY-54
constexpr std::size_t kMagicSize = 4;

/// The level asked for, if one was.
std::optional<int> checked_level(const Compression& how) {
  const int most = how.kind == CompressionKind::gzip ? kMaxGzipLevel : kMaxZstdLevel;
  if (how.level && (*how.level < 0 || *how.level > most)) {
    throw Error(cat("the compression level ", *how.level, " is out of range: ", name_of(how.kind),
                    " has 0 to ", most),
                ExitCode::usage);
  }
  return how.level;
}

int zstd_level(const Compression& how) { return checked_level(how).value_or(kDefaultZstdLevel); }

std::string gzip_level_name(const Compression& how) {
  const auto level = checked_level(how);
  return level ? cat("level ", *level) : "levels by sample 1";
}

class PassSink final : public Sink {
 public:
  explicit PassSink(Sink& out) : out_(out) {}
  void write(std::string_view bytes) override { out_.write(bytes); }
  void write_shared(std::string_view bytes, const std::shared_ptr<const void>& owner) override {
    out_.write_shared(bytes, owner);
  }
  void finish() override { out_.finish(); }
  void boundary() override { out_.boundary(); }

 private:
  Sink& out_;
};

/// Passes bytes on unless they start like a compressed format.
class PlainSource final : public Source {
 public:
  explicit PlainSource(std::unique_ptr<Source> from) : in_(std::move(from), kChunkSize) {}
  std::size_t read(std::span<char> buffer) override {
    const std::string_view bytes = in_.look(checked_ ? 1 : kMagicSize);
    if (!checked_ && sniff_compression(bytes) != CompressionKind::none) {
      throw IntegrityError(cat("the data should be uncompressed but is ", name_of(sniff_compression(bytes))));
    }
    checked_ = true;
    const std::size_t count = std::min(buffer.size(), bytes.size());
    std::memcpy(buffer.data(), bytes.data(), count);
    in_.consume(count);
    return count;
  }

 private:
  InputWindow in_;
  bool checked_ = false;
};

class LimitedSource final : public Source {
 public:
  LimitedSource(std::unique_ptr<Source> from, std::uint64_t limit) : from_(std::move(from)), limit_(limit) {}
  std::size_t read(std::span<char> buffer) override {
    const std::size_t got = from_->read(buffer);
    if (got > limit_ - seen_) {
      throw IntegrityError(cat("the data is larger than ", human_size(limit_), " when decompressed"));
    }
    seen_ += got;
    return got;
  }

 private:
  std::unique_ptr<Source> from_;
  std::uint64_t limit_;
  std::uint64_t seen_ = 0;
};

std::unique_ptr<Source> make_unlimited(CompressionKind kind, std::unique_ptr<Source> from) {
  switch (kind) {
    case CompressionKind::none:
      return std::make_unique<PlainSource>(std::move(from));
    case CompressionKind::gzip:
      return make_gunzip_source(std::move(from));
    case CompressionKind::zstd:
      return make_unzstd_source(std::move(from));
  }
  throw Error("unknown compression");
}

}  // namespace

std::string_view name_of(CompressionKind kind) {
  switch (kind) {
    case CompressionKind::none:
      return "none";
    case CompressionKind::gzip:
      return "gzip";
    case CompressionKind::zstd:
      return "zstd";
  }
  return "unknown";
}

std::string codec_identity(const Compression& how) {
  switch (how.kind) {
    case CompressionKind::none:
      return "none";
    case CompressionKind::gzip:
      return cat("gzip-members-5 libdeflate " LIBDEFLATE_VERSION_STRING " ", gzip_level_name(how));
    case CompressionKind::zstd:
      return cat("zstd-frame-1 libzstd ", ZSTD_versionString(), " level ", zstd_level(how));
  }
  return "unknown";
}

std::unique_ptr<Sink> make_compressor(const Compression& how, Sink& out, ThreadPool* pool,
                                      const PackedPieces* pieces, PackedReport* report) {
  const std::size_t threads = pool == nullptr ? 1 : std::min(pool->size(), kMaxZstdThreads);
  switch (how.kind) {
    case CompressionKind::none:
      return std::make_unique<PassSink>(out);
    case CompressionKind::gzip:
      return std::make_unique<GzipSink>(checked_level(how), out, pool, pieces, report);
    case CompressionKind::zstd:
      return make_zstd_sink(zstd_level(how), threads, out);
  }
  throw Error("unknown compression");
}

std::unique_ptr<Source> make_decompressor(CompressionKind kind, std::unique_ptr<Source> from,
                                          const DecompressLimits& limits) {
  return std::make_unique<LimitedSource>(make_unlimited(kind, std::move(from)), limits.max_output);
}

CompressionKind sniff_compression(std::string_view start) noexcept {
  using namespace std::string_view_literals;
  if (start.starts_with("\x1f\x8b\x08"sv)) return CompressionKind::gzip;
  if (start.starts_with("\x28\xb5\x2f\xfd"sv)) return CompressionKind::zstd;
  const bool skippable = start.size() >= kMagicSize && start.substr(1, 3) == "\x2a\x4d\x18"sv &&
                         (static_cast<unsigned char>(start[0]) & 0xF0) == 0x50;
  return skippable ? CompressionKind::zstd : CompressionKind::none;
}

}  // namespace imgbuild
