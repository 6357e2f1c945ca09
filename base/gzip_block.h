#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "base/digest.h"
#include "base/packed_pieces.h"
#include "base/stream.h"

namespace imgbuild {

/// The canonical empty layer (LAY-34) is 1024 zeros: images are compared by the digest of its blob, so it is
/// packed to the bytes others have.
inline constexpr std::size_t kEmptyLayerSize = 1024;
extern const std::string_view kEmptyLayerBlob;

/// One gzip member on its way: up to kMaxInput bytes of input, then the finished member. The member is a
/// function of the input and the level alone. Used again and again; not thread-safe.
class GzipBlock {
 public:
  static constexpr std::size_t kMaxInput = 1 << 20;

  /// `level` 0…9, or nothing to choose for each block (see make_compressor()). `pieces` may be null: then
  /// nothing is reused and plain_digest() stays empty; else it must outlive the block.
  GzipBlock(std::optional<int> level, const PackedPieces* pieces);

  std::size_t size() const noexcept { return input_size_; }
  std::size_t room() const noexcept { return kMaxInput - input_size_; }
  std::string_view input() const noexcept { return {input_.get(), input_size_}; }

  /// The finished member. Passed on without a copy: `self` holds this block.
  void write_to(Sink& out, const std::shared_ptr<const GzipBlock>& self) const;
  std::size_t member_size() const noexcept;
  std::uint32_t member_crc() const noexcept;  ///< only where there is a plain_digest()

  void clear() noexcept { input_size_ = 0; }
  /// At most room() bytes.
  void append(std::string_view bytes) noexcept;
  /// Cuts the input to its first `size` bytes.
  void truncate(std::size_t size) noexcept { input_size_ = size; }

  void compress();
  /// Nobody wants the member any more: compress() does nothing from now on. From any thread.
  void abandon() noexcept { abandoned_ = true; }

  /// Digest of the input, where it is worth finding the member again.
  const std::optional<Digest>& plain_digest() const noexcept { return plain_digest_; }
  bool reused() const noexcept { return reused_; }

 private:
  bool looks_incompressible();
  int choose_level();
  bool reuse();
  std::size_t deflate_into(char* at, std::size_t room);

  const std::optional<int> level_;
  const PackedPieces* const pieces_;
  std::unique_ptr<char[]> input_;
  std::size_t input_size_ = 0;
  std::unique_ptr<char[]> output_;
  std::size_t output_size_ = 0;
  std::optional<Digest> plain_digest_;
  bool reused_ = false;
  bool stored_ = false;  ///< `output_` has only what stands before, between and behind the parts of the input
  std::atomic<bool> abandoned_{false};
};

}  // namespace imgbuild
