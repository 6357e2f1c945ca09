#include "base/zstd_stream.h"

#include <zstd.h>

#include <new>

#include "base/error.h"
#include "base/input_window.h"
#include "base/strings.h"

namespace imgbuild {

namespace {

constexpr int kMaxWindowLog = 23;    // of what we write (LAY-49)
constexpr int kFirstWideLevel = 20;  // from here on zstd's own choice is wider
constexpr int kJobSize = 4 << 20;    // explicit: the default depends on nothing we want to depend on (LAY-52)
constexpr int kMaxReadWindowLog = 27;  // FS-35
constexpr std::uint64_t kMaxSkipped = 16 << 20;
constexpr std::size_t kSkippableHeaderSize = 8;

[[noreturn]] void fail(std::size_t code) {
  throw IntegrityError(cat("damaged zstd data: ", ZSTD_getErrorName(code)));
}

void require(std::size_t code) {
  if (ZSTD_isError(code) != 0) throw Error(cat("zstd: ", ZSTD_getErrorName(code)));
}

class ZstdSink final : public Sink {
 public:
  ZstdSink(int level, std::size_t threads, Sink& out)
      : out_(out), context_(ZSTD_createCCtx()), buffer_(ZSTD_CStreamOutSize()) {
    if (!context_) throw std::bad_alloc();
    set(ZSTD_c_compressionLevel, level);
    set(ZSTD_c_checksumFlag, 1);
    set(ZSTD_c_contentSizeFlag, 0);
    if (level >= kFirstWideLevel) set(ZSTD_c_windowLog, kMaxWindowLog);
    // The single-threaded path gives other bytes, so there is always at least one worker (LAY-52).
    set(ZSTD_c_nbWorkers, static_cast<int>(std::max<std::size_t>(1, threads)));
    set(ZSTD_c_jobSize, kJobSize);
  }

  void write(std::string_view bytes) override {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    while (in.pos < in.size) (void)run(in, ZSTD_e_continue);
  }

  void finish() override {
    // Ending in the first call would tell zstd the size and choose other parameters.
    ZSTD_inBuffer in{"", 0, 0};
    (void)run(in, ZSTD_e_continue);
    while (run(in, ZSTD_e_end) != 0) {
    }
    out_.finish();
  }

 private:
  struct Free {
    void operator()(ZSTD_CCtx* context) const noexcept { ZSTD_freeCCtx(context); }
  };

  void set(ZSTD_cParameter parameter, int value) {
    require(ZSTD_CCtx_setParameter(context_.get(), parameter, value));
  }

  std::size_t run(ZSTD_inBuffer& in, ZSTD_EndDirective how) {
    ZSTD_outBuffer out{buffer_.data(), buffer_.size(), 0};
    const std::size_t left = ZSTD_compressStream2(context_.get(), &out, &in, how);
    require(left);
    if (out.pos > 0) out_.write({buffer_.data(), out.pos});
    return left;
  }

  Sink& out_;
  std::unique_ptr<ZSTD_CCtx, Free> context_;
  std::vector<char> buffer_;
};

class UnzstdSource final : public Source {
 public:
  explicit UnzstdSource(std::unique_ptr<Source> from)
      : in_(std::move(from), kChunkSize), context_(ZSTD_createDCtx()) {
    if (!context_) throw std::bad_alloc();
    require(ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, kMaxReadWindowLog));
  }

  std::size_t read(std::span<char> buffer) override {
    if (buffer.empty()) return 0;
    for (;;) {
      if (!inside_frame_ && !begin_frame()) return 0;
      const std::string_view bytes = in_.look(1);
      ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
      ZSTD_outBuffer out{buffer.data(), buffer.size(), 0};
      const std::size_t left = ZSTD_decompressStream(context_.get(), &out, &in);
      if (ZSTD_isError(left) != 0) fail(left);
      in_.consume(in.pos);
      if (left == 0) inside_frame_ = false;
      if (bytes.empty() && out.pos == 0 && inside_frame_)
        throw IntegrityError("the zstd data ends too early");
      if (out.pos > 0) return out.pos;
    }
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
  };

  static std::uint32_t u32(std::string_view bytes, std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
    return value;
  }

  /// Goes to the next data frame; false at the end of the stream.
  bool begin_frame() {
    for (;;) {
      const std::string_view start = in_.look(kSkippableHeaderSize);
      if (start.empty() && any_frame_) return false;
      const std::uint32_t magic = start.size() < 4 ? 0 : u32(start, 0);
      if (magic == ZSTD_MAGICNUMBER) break;
      if ((magic & ZSTD_MAGIC_SKIPPABLE_MASK) != ZSTD_MAGIC_SKIPPABLE_START ||
          start.size() < kSkippableHeaderSize) {
        throw IntegrityError(any_frame_ ? "bytes that are no zstd follow the zstd data"
                                        : "the data is not zstd");
      }
      any_frame_ = true;
      const std::uint32_t length = u32(start, 4);
      in_.consume(kSkippableHeaderSize);
      skip(length);
    }
    any_frame_ = true;
    inside_frame_ = true;
    return true;
  }

  void skip(std::uint64_t length) {
    skipped_ += length;
    if (skipped_ > kMaxSkipped) {
      throw IntegrityError(
          cat("the zstd data has more than ", human_size(kMaxSkipped), " of skippable frames"));
    }
    while (length > 0) {
      const std::string_view bytes = in_.look(1);
      if (bytes.empty()) throw IntegrityError("the zstd data ends too early");
      const std::size_t count = static_cast<std::size_t>(std::min<std::uint64_t>(length, bytes.size()));
      in_.consume(count);
      length -= count;
    }
  }

  InputWindow in_;
  std::unique_ptr<ZSTD_DCtx, Free> context_;
  std::uint64_t skipped_ = 0;
  bool inside_frame_ = false;
  bool any_frame_ = false;
};

}  // namespace

std::unique_ptr<Sink> make_zstd_sink(int level, std::size_t threads, Sink& out) {
  return std::make_unique<ZstdSink>(level, threads, out);
}

std::unique_ptr<Source> make_unzstd_source(std::unique_ptr<Source> from) {
  return std::make_unique<UnzstdSource>(std::move(from));
}

}  // namespace imgbuild
