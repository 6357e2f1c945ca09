#include "base/gzip_sink.h"

#include <libdeflate.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>

namespace imgbuild {

namespace {

constexpr std::size_t kBlockSize = 1 << 20;
constexpr std::size_t kMinBlockSize = 256 << 10;

constexpr std::string_view kHeader{"\x1f\x8b\x08\0\0\0\0\0\0\xff",
                                   10};  // no name, no time, unknown system (LAY-44)
constexpr std::size_t kTrailerSize = 8;
constexpr std::size_t kMaxStored = 65535;
constexpr std::size_t kStoredHeaderSize = 5;

// How incompressible data is recognised: samples spread over the block that do not shrink by two percent.
constexpr std::size_t kSamples = 8;
constexpr std::size_t kSampleSize = 4096;
constexpr std::size_t kSampleGain = kSampleSize / 50;

/// The canonical empty layer (LAY-34): images are compared by the digest of this blob, so it is what others
/// have.
constexpr std::size_t kEmptyLayerSize = 1024;
constexpr std::string_view kEmptyLayerBlob{
    "\x1f\x8b\x08\0\0\0\0\0\0\xff\x62\x18\x05\xa3\x60\x14\x8c\x58\0\x08\0\0\xff\xff\x2e\xaf\xb5\xef\0\x04\0"
    "\0",
    32};

struct FreeCompressor {
  void operator()(libdeflate_compressor* compressor) const noexcept {
    libdeflate_free_compressor(compressor);
  }
};
using Compressor = std::unique_ptr<libdeflate_compressor, FreeCompressor>;

Compressor make_deflate(int level) {
  Compressor compressor(libdeflate_alloc_compressor(level));
  if (!compressor) throw std::bad_alloc();
  return compressor;
}

char* put_u16(char* at, std::size_t value) {
  *at++ = static_cast<char>(value & 0xFF);
  *at++ = static_cast<char>(value >> 8 & 0xFF);
  return at;
}

char* put_u32(char* at, std::uint32_t value) { return put_u16(put_u16(at, value & 0xFFFF), value >> 16); }

/// Deflate blocks that hold `bytes` as they are.
char* put_stored(char* at, std::string_view bytes) {
  do {
    const std::string_view part = bytes.substr(0, kMaxStored);
    bytes.remove_prefix(part.size());
    *at++ = bytes.empty() ? 1 : 0;  // the last block of the stream
    at = put_u16(at, part.size());
    at = put_u16(at, ~part.size());
    std::memcpy(at, part.data(), part.size());
    at += part.size();
  } while (!bytes.empty());
  return at;
}

constexpr std::size_t stored_size(std::size_t size) {
  return size + kStoredHeaderSize * std::max<std::size_t>(1, (size + kMaxStored - 1) / kMaxStored);
}

}  // namespace

/// One member: up to kBlockSize bytes of input, then the finished member. Used again and again.
struct GzipSink::Block {
  explicit Block(int deflate_level)
      : level(deflate_level), input(std::make_unique_for_overwrite<char[]>(kBlockSize)) {}

  const int level;
  std::unique_ptr<char[]> input;
  std::size_t input_size = 0;
  std::unique_ptr<char[]> output;
  std::size_t output_size = 0;
  Compressor deflate;
  Compressor fast_deflate;

  std::string_view bytes() const { return {input.get(), input_size}; }
  std::string_view member() const { return {output.get(), output_size}; }

  bool looks_incompressible() {
    if (input_size < 4 * kSamples * kSampleSize) return false;
    if (!fast_deflate) fast_deflate = make_deflate(1);
    char scratch[kSampleSize];
    const std::size_t stride = (input_size - kSampleSize) / (kSamples - 1);
    for (std::size_t i = 0; i < kSamples; ++i) {
      if (libdeflate_deflate_compress(fast_deflate.get(), input.get() + i * stride, kSampleSize, scratch,
                                      kSampleSize - kSampleGain) != 0) {
        return false;
      }
    }
    return true;
  }

  void compress() {
    if (!output) {
      output =
          std::make_unique_for_overwrite<char[]>(kHeader.size() + stored_size(kBlockSize) + kTrailerSize);
    }
    char* at = output.get();
    std::memcpy(at, kHeader.data(), kHeader.size());
    at += kHeader.size();
    std::size_t packed = 0;
    if (level > 0 && !looks_incompressible()) {
      if (!deflate) deflate = make_deflate(level);
      packed =
          libdeflate_deflate_compress(deflate.get(), input.get(), input_size, at, stored_size(input_size));
    }
    at = packed > 0 ? at + packed : put_stored(at, bytes());
    at = put_u32(at, libdeflate_crc32(0, input.get(), input_size));
    at = put_u32(at, static_cast<std::uint32_t>(input_size));
    output_size = static_cast<std::size_t>(at - output.get());
  }
};

GzipSink::GzipSink(int level, Sink& out, ThreadPool* pool)
    : level_(level), out_(out), pool_(pool), max_jobs_(pool == nullptr ? 1 : pool->size() + 2) {}

GzipSink::~GzipSink() = default;

std::shared_ptr<GzipSink::Block> GzipSink::take_block() {
  if (spare_.empty()) return std::make_shared<Block>(level_);
  auto block = std::move(spare_.back());
  spare_.pop_back();
  block->input_size = 0;
  return block;
}

void GzipSink::write(std::string_view bytes) {
  while (!bytes.empty()) {
    if (!current_) current_ = take_block();
    const std::size_t count = std::min(bytes.size(), kBlockSize - current_->input_size);
    std::memcpy(current_->input.get() + current_->input_size, bytes.data(), count);
    current_->input_size += count;
    bytes.remove_prefix(count);
    if (current_->input_size == kBlockSize) start_block();
  }
}

void GzipSink::boundary() {
  if (current_ && current_->input_size >= kMinBlockSize) start_block();
}

void GzipSink::finish() {
  if (!any_started_ && current_ && current_->input_size == kEmptyLayerSize &&
      current_->bytes().find_first_not_of('\0') == std::string_view::npos) {
    out_.write(kEmptyLayerBlob);
    out_.finish();
    return;
  }
  if (!any_started_ && !current_) current_ = take_block();  // an empty stream is one empty member
  if (current_) start_block();
  while (!jobs_.empty()) write_oldest();
  out_.finish();
}

void GzipSink::start_block() {
  while (jobs_.size() >= max_jobs_) write_oldest();
  any_started_ = true;
  auto block = std::exchange(current_, nullptr);
  auto task = SharedTask::start(pool_, [block] { block->compress(); });
  jobs_.push_back({std::move(block), std::move(task)});
  if (pool_ == nullptr) write_oldest();
}

void GzipSink::write_oldest() {
  const Job job = std::move(jobs_.front());
  jobs_.pop_front();
  job.task->join();
  out_.write(job.block->member());
  spare_.push_back(job.block);
}

}  // namespace imgbuild
