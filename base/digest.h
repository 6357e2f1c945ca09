#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace imgbuild {

/// The SHA-256 of exact bytes. A value that exists is valid; imgbuild produces no other algorithm (IMG-2).
class Digest {
 public:
  static constexpr std::size_t kSize = 32;

  /// Throws Error unless `text` is `sha256:` and 64 lowercase hex digits (IMG-1). The text never reaches a
  /// path or URL before it passed here.
  static Digest parse(std::string_view text);
  static Digest from_bytes(const std::array<std::byte, kSize>& raw) noexcept { return Digest(raw); }

  std::string str() const;  ///< "sha256:…"
  std::string hex() const;  ///< the 64 digits alone, for file names
  std::string short_hex() const { return hex().substr(0, 12); }
  const std::array<std::byte, kSize>& bytes() const noexcept { return raw_; }

  auto operator<=>(const Digest&) const = default;

 private:
  explicit Digest(const std::array<std::byte, kSize>& raw) noexcept : raw_(raw) {}
  std::array<std::byte, kSize> raw_;
};

}  // namespace imgbuild

template <>
struct std::hash<imgbuild::Digest> {
  std::size_t operator()(const imgbuild::Digest& digest) const noexcept {
    std::size_t word = 0;
    for (std::size_t i = 0; i < sizeof word; ++i)
      word = (word << 8) | static_cast<std::size_t>(digest.bytes()[i]);
    return word;
  }
};
