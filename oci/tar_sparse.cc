#include "oci/tar_sparse.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::oci::tar {

namespace {

constexpr std::size_t kPairSize = 24;
constexpr std::size_t kNumberSize = 12;

[[noreturn]] void bad_map(std::string_view why) {
  throw IntegrityError(cat("a sparse file's map is damaged: ", why));
}

}  // namespace

void SparseMap::add(std::uint64_t offset, std::uint64_t size) {
  if (extents_.size() >= kMaxSparseExtents) bad_map("it has too many pieces");
  extents_.push_back({offset, size});
}

void SparseMap::add_header_pairs(std::string_view pairs) {
  for (; pairs.size() >= kPairSize; pairs.remove_prefix(kPairSize)) {
    if (pairs[0] == '\0') return;
    const auto offset = parse_number(pairs.substr(0, kNumberSize));
    const auto size = parse_number(pairs.substr(kNumberSize, kNumberSize));
    if (!offset || !size || *offset < 0 || *size < 0) bad_map("a number is malformed");
    add(static_cast<std::uint64_t>(*offset), static_cast<std::uint64_t>(*size));
  }
}

void SparseMap::add_text(std::string_view text) {
  if (text.empty()) return;
  if (text.size() > kMaxSparseMap) bad_map("it is too long");
  const auto number = [&text] {
    const std::size_t end = std::min(text.find(','), text.size());
    const auto value = parse_decimal(text.substr(0, end));
    if (!value) bad_map("a number is malformed");
    text.remove_prefix(std::min(end + 1, text.size()));
    return *value;
  };
  while (!text.empty()) {
    const std::uint64_t offset = number();
    if (text.empty()) bad_map("a piece has no size");
    add(offset, number());
  }
}

std::vector<SparseExtent> SparseMap::take(std::uint64_t real_size, std::uint64_t stored_size) {
  std::uint64_t end = 0;
  std::uint64_t stored = 0;
  for (const auto& extent : extents_) {
    if (extent.offset < end) bad_map("pieces overlap or are out of order");
    if (extent.size > real_size || extent.offset > real_size - extent.size)
      bad_map("a piece lies behind the end");
    end = extent.offset + extent.size;
    stored += extent.size;  // cannot overflow: the pieces lie side by side inside real_size
  }
  if (stored != stored_size) bad_map("its pieces are not what is stored");
  return std::move(extents_);
}

}  // namespace imgbuild::oci::tar
