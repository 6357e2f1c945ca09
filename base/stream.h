#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/hash.h"
#include "base/unique_fd.h"

namespace imgbuild {

/// How much moves at a time. Nothing holds a layer whole.
inline constexpr std::size_t kChunkSize = 128 * 1024;

/// Bytes to pull. One reader at a time.
class Source {
 public:
  virtual ~Source() = default;
  /// Fills the front of `buffer`, returns how much; 0 only at the end. Throws when the bytes cannot be had.
  virtual std::size_t read(std::span<char> buffer) = 0;
};

/// Bytes to push. One writer at a time. `finish` is called once, on success, since a destructor cannot
/// report a failed flush; a sink destroyed without it discards what it can.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void write(std::string_view bytes) = 0;
  /// The same, of bytes whose memory does not change while `owner` is held: who keeps them need not copy
  /// them.
  virtual void write_shared(std::string_view bytes, const std::shared_ptr<const void>& owner) {
    static_cast<void>(owner);
    write(bytes);
  }
  virtual void finish() {}
  /// Says that something ends here (an archive member, say) and the next begins. A hint that changes no bytes
  /// of the stream; a compressor may start a block here so that what follows keeps its compressed bytes when
  /// what came before changes. Passed on by sinks around another one.
  virtual void boundary() {}
};

class StringSource final : public Source {
 public:
  explicit StringSource(std::string text) : text_(std::move(text)) {}
  std::size_t read(std::span<char> buffer) override;

 private:
  std::string text_;
  std::size_t at_ = 0;
};

class StringSink final : public Sink {
 public:
  void write(std::string_view bytes) override { text_ += bytes; }
  const std::string& text() const noexcept { return text_; }
  std::string take() noexcept { return std::move(text_); }

 private:
  std::string text_;
};

/// Reads a file it owns from its current offset. `name` is for errors.
class FileSource final : public Source {
 public:
  FileSource(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  std::size_t read(std::span<char> buffer) override;

 private:
  UniqueFd fd_;
  std::string name_;
};

/// Writes to a descriptor it owns.
class FileSink final : public Sink {
 public:
  FileSink(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  void write(std::string_view bytes) override { write_all(fd_.get(), bytes, name_); }
  int fd() const noexcept { return fd_.get(); }

 private:
  UniqueFd fd_;
  std::string name_;
};

/// Passes bytes on and keeps their digest and number. `digest()` may be asked once, after the last write.
class HashSink final : public Sink {
 public:
  explicit HashSink(Sink& next) : next_(next) {}
  void write(std::string_view bytes) override {
    hash_.update(bytes);
    size_ += bytes.size();
    next_.write(bytes);
  }
  void finish() override { next_.finish(); }
  void boundary() override { next_.boundary(); }
  Digest digest() { return hash_.finish(); }
  std::uint64_t size() const noexcept { return size_; }

 private:
  Sink& next_;
  Sha256 hash_;
  std::uint64_t size_ = 0;
};

/// Throws bytes away: `HashSink(null_sink)` only hashes.
class NullSink final : public Sink {
 public:
  void write(std::string_view) override {}
};

/// Passes bytes on while checking them: throws IntegrityError as soon as more than `size` bytes come, and at
/// the end unless exactly `size` bytes with `digest` came. The end of stream is reported only after the
/// check.
class VerifySource final : public Source {
 public:
  VerifySource(std::unique_ptr<Source> from, const Digest& digest, std::uint64_t size, std::string name);
  std::size_t read(std::span<char> buffer) override;

 private:
  std::unique_ptr<Source> from_;
  Digest digest_;
  std::uint64_t size_;
  std::uint64_t seen_ = 0;
  Sha256 hash_;
  bool checked_ = false;
  std::string name_;
};

/// Moves everything; returns how many bytes. Does not call finish().
std::uint64_t copy(Source& from, Sink& to);
/// Reads everything. Throws Error beyond `limit` bytes; `name` is for that error.
std::string read_all(Source& from, std::uint64_t limit, std::string_view name);

}  // namespace imgbuild
