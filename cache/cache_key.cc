#include "cache/cache_key.h"

#include <array>
#include <cstdint>

#include "base/hash.h"

namespace imgbuild::cache {

namespace {

/// The length as eight bytes, least significant first, then the bytes: no two lists of fields give one
/// stream.
void hash_counted(Sha256& hash, std::string_view bytes) {
  std::array<char, 8> length{};
  auto rest = static_cast<std::uint64_t>(bytes.size());
  for (char& byte : length) {
    byte = static_cast<char>(rest & 0xff);
    rest >>= 8;
  }
  hash.update({length.data(), length.size()});
  hash.update(bytes);
}

}  // namespace

CacheKeyBuilder::CacheKeyBuilder(std::string_view format) : format_(format) {}

CacheKeyBuilder& CacheKeyBuilder::add(std::string_view label, std::string_view value) {
  fields_.push_back({std::string(label), std::string(value)});
  return *this;
}

CacheKey CacheKeyBuilder::finish() {
  Sha256 hash;
  hash_counted(hash, format_);
  for (const KeyField& field : fields_) {
    hash_counted(hash, field.label);
    hash_counted(hash, field.value);
  }
  return CacheKey(hash.finish(), std::move(fields_));
}

}  // namespace imgbuild::cache
