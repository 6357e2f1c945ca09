#include "base/gunzip_source.h"

#include <libdeflate.h>
#include <zlib.h>

#include <new>

#include "base/error.h"
#include "base/input_window.h"

namespace imgbuild {

namespace {

constexpr std::string_view kMagic{"\x1f\x8b\x08", 3};
/// Members of at most so much output, which are all we write ourselves, take the fast way.
constexpr std::size_t kFastOutput = 1 << 20;
/// Enough input for such a member, stored and with an ordinary header.
constexpr std::size_t kFastInput = kFastOutput + 4096;
constexpr int kGzipWindow = 15 + 16;  // zlib: largest window, gzip wrapper

struct FreeDecompressor {
  void operator()(libdeflate_decompressor* d) const noexcept { libdeflate_free_decompressor(d); }
};

/// zlib's inflater for one gzip member after another.
class Inflater {
 public:
  Inflater() {
    if (inflateInit2(&stream_, kGzipWindow) != Z_OK) throw std::bad_alloc();
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  void reset() { inflateReset(&stream_); }

  struct Progress {
    std::size_t consumed;
    std::size_t produced;
    bool member_ended;
  };
  Progress inflate_some(std::string_view in, std::span<char> out) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    stream_.avail_in = static_cast<uInt>(in.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(std::min<std::size_t>(out.size(), 1u << 30));
    const uInt room = stream_.avail_out;
    const int status = ::inflate(&stream_, Z_NO_FLUSH);
    if (status == Z_MEM_ERROR) throw std::bad_alloc();
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
      throw IntegrityError(cat_message());
    }
    return {in.size() - stream_.avail_in, room - stream_.avail_out, status == Z_STREAM_END};
  }

 private:
  std::string cat_message() const {
    std::string text = "damaged gzip data";
    if (stream_.msg != nullptr) text.append(": ").append(stream_.msg);
    return text;
  }
  z_stream stream_{};
};

class GunzipSource final : public Source {
 public:
  explicit GunzipSource(std::unique_ptr<Source> from)
      : in_(std::move(from), 2 * kFastInput),
        fast_(libdeflate_alloc_decompressor()),
        block_(std::make_unique_for_overwrite<char[]>(kFastOutput)) {
    if (!fast_) throw std::bad_alloc();
  }

  std::size_t read(std::span<char> buffer) override {
    if (buffer.empty()) return 0;
    for (;;) {
      if (block_at_ < block_size_) return take_from_block(buffer);
      if (inside_member_) {
        if (const std::size_t got = inflate_more(buffer)) return got;
      } else if (!begin_member()) {
        return 0;
      }
    }
  }

 private:
  std::size_t take_from_block(std::span<char> buffer) {
    const std::size_t count = std::min(buffer.size(), block_size_ - block_at_);
    std::memcpy(buffer.data(), block_.get() + block_at_, count);
    block_at_ += count;
    return count;
  }

  /// False at the end of the stream.
  bool begin_member() {
    const std::string_view start = in_.look(kFastInput);
    if (start.empty() && any_member_) return false;
    if (!start.starts_with(kMagic)) {
      throw IntegrityError(any_member_ ? "bytes that are no gzip follow the gzip data"
                                       : "the data is not gzip");
    }
    any_member_ = true;
    std::size_t consumed = 0;
    std::size_t produced = 0;
    // Damaged, truncated and large members look alike here, so zlib has the last word on anything but
    // success.
    if (libdeflate_gzip_decompress_ex(fast_.get(), start.data(), start.size(), block_.get(), kFastOutput,
                                      &consumed, &produced) == LIBDEFLATE_SUCCESS) {
      in_.consume(consumed);
      block_at_ = 0;
      block_size_ = produced;
      return true;
    }
    if (!slow_) slow_ = std::make_unique<Inflater>();
    slow_->reset();
    inside_member_ = true;
    return true;
  }

  std::size_t inflate_more(std::span<char> buffer) {
    const std::string_view in = in_.look(1);
    const auto progress = slow_->inflate_some(in, buffer);
    in_.consume(progress.consumed);
    if (progress.member_ended) inside_member_ = false;
    if (in.empty() && progress.produced == 0 && !progress.member_ended) {
      throw IntegrityError("the gzip data ends too early");
    }
    return progress.produced;
  }

  InputWindow in_;
  std::unique_ptr<libdeflate_decompressor, FreeDecompressor> fast_;
  std::unique_ptr<Inflater> slow_;
  std::unique_ptr<char[]> block_;
  std::size_t block_at_ = 0;
  std::size_t block_size_ = 0;
  bool inside_member_ = false;
  bool any_member_ = false;
};

}  // namespace

std::unique_ptr<Source> make_gunzip_source(std::unique_ptr<Source> from) {
  return std::make_unique<GunzipSource>(std::move(from));
}

}  // namespace imgbuild
