#include "base/gzip_block.h"

#include <libdeflate.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "base/hash.h"

namespace imgbuild {

const std::string_view kEmptyLayerBlob{
    "\x1f\x8b\x08\0\0\0\0\0\0\xff\x62\x18\x05\xa3\x60\x14\x8c\x58\0\x08\0\0\xff\xff\x2e\xaf\xb5\xef\0\x04\0"
    "\0",
    32};

namespace {

constexpr std::string_view kHeader{"\x1f\x8b\x08\0\0\0\0\0\0\xff",
                                   10};  // no name, no time, unknown system (LAY-44)
constexpr std::size_t kTrailerSize = 8;
constexpr std::size_t kMaxStored = 65535;
constexpr std::size_t kStoredHeaderSize = 5;

// How incompressible data is recognised: samples spread over the block that do not shrink by two percent
// together. One call for all of them, since libdeflate clears its tables with each.
constexpr std::size_t kSamples = 8;
constexpr std::size_t kSampleSize = 1024;
constexpr std::size_t kSampled = kSamples * kSampleSize;
constexpr std::size_t kSampleGain = kSampled / 50;

// How a level is chosen (docs/adr/0010): small blocks are cheap at the best level worth its time. In larger
// ones a sample tells whether the fastest level costs little against the usual one; the limit is tighter than
// what we are willing to lose over a whole block, because levels differ less over the short distances of a
// sample.
constexpr int kFastLevel = 1;
constexpr int kUsualLevel = 4;
constexpr int kBestLevel = 6;
constexpr std::size_t kSmallBlock = 128 << 10;
constexpr std::size_t kLevelSample = 16 << 10;
constexpr std::size_t kMaxLossPerMille = 22;

char* put_u16(char* at, std::size_t value) {
  *at++ = static_cast<char>(value & 0xFF);
  *at++ = static_cast<char>(value >> 8 & 0xFF);
  return at;
}

char* put_u32(char* at, std::uint32_t value) { return put_u16(put_u16(at, value & 0xFFFF), value >> 16); }

/// Where the parts of a stored member's input are cut.
template <typename Take>
void in_stored_parts(std::string_view bytes, const Take& take) {
  do {
    const std::string_view part = bytes.substr(0, kMaxStored);
    bytes.remove_prefix(part.size());
    take(part, bytes.empty());
  } while (!bytes.empty());
}

/// The headers of deflate blocks that hold `bytes` as they are.
char* put_stored_headers(char* at, std::string_view bytes) {
  in_stored_parts(bytes, [&](std::string_view part, bool last) {
    *at++ = last ? 1 : 0;  // the last block of the stream
    at = put_u16(at, part.size());
    at = put_u16(at, ~part.size());
  });
  return at;
}

constexpr std::size_t stored_size(std::size_t size) {
  return size + kStoredHeaderSize * std::max<std::size_t>(1, (size + kMaxStored - 1) / kMaxStored);
}

struct FreeCompressor {
  void operator()(libdeflate_compressor* compressor) const noexcept {
    libdeflate_free_compressor(compressor);
  }
};

/// The calling thread's compressor: blocks are many, threads few, and one takes up to a megabyte.
libdeflate_compressor* deflate(int level) {
  thread_local std::unique_ptr<libdeflate_compressor, FreeCompressor> by_level[10];
  auto& compressor = by_level[level];
  if (!compressor) compressor.reset(libdeflate_alloc_compressor(level));
  if (!compressor) throw std::bad_alloc();
  return compressor.get();
}

constexpr std::size_t kMaxMember = kHeader.size() + stored_size(GzipBlock::kMaxInput) + kTrailerSize;

}  // namespace

GzipBlock::GzipBlock(std::optional<int> level, const PackedPieces* pieces)
    : level_(level), pieces_(pieces), input_(std::make_unique_for_overwrite<char[]>(kMaxInput)) {}

void GzipBlock::append(std::string_view bytes) noexcept {
  std::memcpy(input_.get() + input_size_, bytes.data(), bytes.size());
  input_size_ += bytes.size();
}

bool GzipBlock::looks_incompressible() {
  if (input_size_ < 8 * kSampled) return false;
  char samples[kSampled];
  char scratch[kSampled];
  const std::size_t stride = (input_size_ - kSampleSize) / (kSamples - 1);
  for (std::size_t i = 0; i < kSamples; ++i)
    std::memcpy(samples + i * kSampleSize, input_.get() + i * stride, kSampleSize);
  return libdeflate_deflate_compress(deflate(kFastLevel), samples, kSampled, scratch,
                                     kSampled - kSampleGain) == 0;
}

int GzipBlock::choose_level() {
  if (level_) return *level_;
  if (input_size_ < kSmallBlock) return kBestLevel;
  char scratch[kLevelSample];
  const char* const sample = input_.get() + (input_size_ - kLevelSample) / 2;
  const auto packed = [&](int level) {
    return libdeflate_deflate_compress(deflate(level), sample, kLevelSample, scratch, kLevelSample);
  };
  const std::size_t usual = packed(kUsualLevel);
  const std::size_t fast = packed(kFastLevel);
  // 0 says that it did not fit: such a sample does not shrink at any level.
  const bool little_lost = fast != 0 && fast * 1000 <= usual * (1000 + kMaxLossPerMille);
  return little_lost || usual == 0 ? kFastLevel : kUsualLevel;
}

bool GzipBlock::reuse() {
  plain_digest_ = sha256(input());
  output_size_ = pieces_->load(*plain_digest_, {output_.get(), kMaxMember});
  return output_size_ > 0;
}

std::size_t GzipBlock::deflate_into(char* at, std::size_t room) {
  return libdeflate_deflate_compress(deflate(choose_level()), input_.get(), input_size_, at, room);
}

void GzipBlock::compress() {
  if (abandoned_) return;
  if (!output_) output_ = std::make_unique_for_overwrite<char[]>(kMaxMember);
  plain_digest_.reset();
  reused_ = false;
  stored_ = false;
  const bool shrinks = level_ != 0 && !looks_incompressible();
  // What is stored as it is costs less to make again than to find.
  if (shrinks && pieces_ != nullptr && (reused_ = reuse())) return;

  char* at = output_.get();
  std::memcpy(at, kHeader.data(), kHeader.size());
  at += kHeader.size();
  const std::size_t packed = shrinks ? deflate_into(at, stored_size(input_size_)) : 0;
  stored_ = packed == 0;
  if (stored_) plain_digest_.reset();
  at = stored_ ? put_stored_headers(at, input()) : at + packed;
  at = put_u32(at, libdeflate_crc32(0, input_.get(), input_size_));
  at = put_u32(at, static_cast<std::uint32_t>(input_size_));
  output_size_ = static_cast<std::size_t>(at - output_.get());
}

std::size_t GzipBlock::member_size() const noexcept {
  return stored_ ? kHeader.size() + stored_size(input_size_) + kTrailerSize : output_size_;
}

std::uint32_t GzipBlock::member_crc() const noexcept {
  return libdeflate_crc32(0, output_.get(), output_size_);
}

void GzipBlock::write_to(Sink& out, const std::shared_ptr<const GzipBlock>& self) const {
  std::string_view frame(output_.get(), output_size_);
  const auto frame_bytes = [&](std::size_t size) {
    out.write_shared(frame.substr(0, size), self);
    frame.remove_prefix(size);
  };
  if (stored_) {
    std::size_t before = kHeader.size();
    in_stored_parts(input(), [&](std::string_view part, bool) {
      frame_bytes(before + kStoredHeaderSize);
      out.write_shared(part, self);
      before = 0;
    });
  }
  frame_bytes(frame.size());
}

}  // namespace imgbuild
