#include "base/byte_finder.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/secret_bytes.h"

namespace imgbuild {

namespace {

constexpr std::size_t kBlock = ByteFinder::kShortestPattern;
constexpr unsigned kFewBits = 13, kManyBits = 15;  // the shifts fit the first cache of a processor
constexpr std::size_t kMany = 64;                  // patterns
constexpr std::size_t kLongestShift = 255;
constexpr std::size_t kPart = 32 * 1024;  ///< of a chunk, so that what was copied is still in the cache

std::uint32_t hash(std::uint32_t block, unsigned bits) noexcept {
  return (block * 2654435761u) >> (32 - bits);
}

std::uint32_t block_hash(const char* at, unsigned bits) noexcept {
  std::uint32_t block = 0;
  std::memcpy(&block, at, kBlock);
  return hash(block, bits);
}

/// The same where a fourth byte may be read as well, at once.
std::uint32_t quick_hash(const char* at, unsigned bits) noexcept {
  std::uint32_t block = 0;
  std::memcpy(&block, at, sizeof block);
  return hash(std::endian::native == std::endian::little ? block & 0xffffffu : block & 0xffffff00u, bits);
}

}  // namespace

ByteFinder::ByteFinder(const std::vector<std::string>& patterns, std::string_view ignored)
    : patterns_(patterns), ignored_(ignored) {
  for (const auto& pattern : patterns_) {
    if (pattern.size() < kBlock) continue;
    shortest_ = shortest_ == 0 ? pattern.size() : std::min(shortest_, pattern.size());
    longest_ = std::max(longest_, pattern.size());
  }
  if (shortest_ == 0) return;
  bits_ = patterns_.size() < kMany ? kFewBits : kManyBits;
  const std::size_t size = std::size_t{1} << bits_;
  const std::size_t most = std::min(shortest_ - kBlock + 1, kLongestShift);
  shifts_.assign(size, static_cast<std::uint8_t>(most));
  first_.assign(size + 1, 0);
  // Only the first bytes of each count, as many as the shortest has.
  for (const auto& pattern : patterns_) {
    if (pattern.size() < kBlock) continue;
    for (std::size_t end = kBlock; end <= shortest_; ++end) {
      auto& shift = shifts_[block_hash(pattern.data() + end - kBlock, bits_)];
      shift = static_cast<std::uint8_t>(std::min<std::size_t>(shift, shortest_ - end));
    }
    ++first_[block_hash(pattern.data() + shortest_ - kBlock, bits_) + 1];
  }
  for (std::size_t i = 0; i < size; ++i) first_[i + 1] += first_[i];
  order_.resize(first_[size]);
  std::vector<std::uint32_t> next(first_.begin(), first_.end() - 1);
  for (std::uint32_t i = 0; i < patterns_.size(); ++i) {
    if (patterns_[i].size() < kBlock) continue;
    order_[next[block_hash(patterns_[i].data() + shortest_ - kBlock, bits_)]++] = i;
  }
}

ByteFinder::~ByteFinder() {
  for (auto& pattern : patterns_) wipe(pattern);
}

std::uint32_t ByteFinder::check(std::uint32_t bucket, const char* at, std::size_t left) const noexcept {
  for (std::uint32_t i = first_[bucket]; i < first_[bucket + 1]; ++i) {
    const std::string& pattern = patterns_[order_[i]];
    if (pattern.size() <= left && std::memcmp(pattern.data(), at, pattern.size()) == 0) return order_[i];
  }
  return kNone;
}

std::uint32_t ByteFinder::search(std::string_view text) const noexcept {
  const char* const end = text.data() + text.size();
  const std::uint8_t* const shifts = shifts_.data();
  const unsigned bits = bits_;
  const std::size_t before = shortest_ - kBlock;  // from a pattern's beginning to the block that is looked at
  if (text.size() < shortest_) return kNone;
  for (const char* at = text.data() + before; at + kBlock <= end;) {
    const std::uint32_t bucket = at + kBlock < end ? quick_hash(at, bits) : block_hash(at, bits);
    const std::size_t shift = shifts[bucket];
    if (shift != 0) [[likely]] {
      at += shift;
      continue;
    }
    const char* const begin = at - before;
    if (const auto found = check(bucket, begin, static_cast<std::size_t>(end - begin)); found != kNone)
      return found;
    ++at;
  }
  return kNone;
}

void ByteFinder::append(std::string& to, std::string_view bytes, std::size_t ignored) const {
  if (ignored == ignored_.size()) {
    to += bytes;
    return;
  }
  while (!bytes.empty()) {
    const void* const next = std::memchr(bytes.data(), ignored_[ignored], bytes.size());
    const std::size_t size = next == nullptr
                                 ? bytes.size()
                                 : static_cast<std::size_t>(static_cast<const char*>(next) - bytes.data());
    append(to, bytes.substr(0, size), ignored + 1);
    bytes.remove_prefix(next == nullptr ? size : size + 1);
  }
}

/// Only what lies across the chunks is copied.
std::uint32_t ByteFinder::find_in_place(State& state, std::string_view bytes) const {
  const std::size_t overlap = longest_ - 1;
  if (!state.kept.empty()) {
    const std::size_t old = state.kept.size();
    state.kept += bytes.substr(0, overlap);
    if (const auto found = search(state.kept); found != kNone) return found;
    if (bytes.size() > overlap) state.kept.resize(old);
  }
  if (bytes.size() > overlap) {
    if (const auto found = search(bytes); found != kNone) return found;
    state.kept = bytes.substr(bytes.size() - overlap);
  } else if (state.kept.empty()) {
    state.kept = bytes;
    return search(bytes);
  } else if (state.kept.size() > overlap) {
    state.kept.erase(0, state.kept.size() - overlap);
  }
  return kNone;
}

std::uint32_t ByteFinder::find(State& state, std::string_view bytes) const {
  if (empty() || bytes.empty()) return kNone;
  if (ignored_.empty()) {
    const auto found = find_in_place(state, bytes);
    if (found != kNone) state.kept.clear();
    return found;
  }
  while (!bytes.empty()) {
    append(state.kept, bytes.substr(0, kPart), 0);
    bytes.remove_prefix(std::min(kPart, bytes.size()));
    if (const auto found = search(state.kept); found != kNone) {
      state.kept.clear();
      return found;
    }
    // What may be the beginning of one.
    if (state.kept.size() >= longest_) state.kept.erase(0, state.kept.size() - (longest_ - 1));
  }
  return kNone;
}

}  // namespace imgbuild
