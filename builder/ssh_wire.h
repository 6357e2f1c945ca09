#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace imgbuild::builder {

/// Reads the data types of the ssh protocol (RFC 4251, section 5). What does not fit gives nothing, and so
/// does everything after it.
class SshReader {
 public:
  explicit SshReader(std::string_view bytes) noexcept : rest_(bytes) {}

  std::optional<std::uint32_t> number() {
    const auto raw = take(4);
    if (!raw) return std::nullopt;
    std::uint32_t value = 0;
    for (const char c : *raw) value = value << 8 | static_cast<unsigned char>(c);
    return value;
  }
  std::optional<std::string_view> string() {
    const auto size = number();
    return size ? take(*size) : std::nullopt;
  }
  std::optional<std::string_view> take(std::size_t size) {
    if (failed_ || size > rest_.size()) {
      failed_ = true;
      return std::nullopt;
    }
    const auto out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return out;
  }
  std::string_view rest() const noexcept { return rest_; }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

inline std::string ssh_number(std::uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
  return out;
}

inline std::string ssh_string(std::string_view bytes) {
  return ssh_number(static_cast<std::uint32_t>(bytes.size())).append(bytes);
}

/// A positive number: without leading zeros, but for one that keeps it positive.
inline std::string ssh_mpint(std::string_view big_endian) {
  while (!big_endian.empty() && big_endian.front() == '\0') big_endian.remove_prefix(1);
  const bool high = !big_endian.empty() && (static_cast<unsigned char>(big_endian.front()) & 0x80) != 0;
  return ssh_string(std::string(high ? 1 : 0, '\0').append(big_endian));
}

}  // namespace imgbuild::builder
