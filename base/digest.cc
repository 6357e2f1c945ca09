#include "base/digest.h"

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild {

namespace {

int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

Digest Digest::parse(std::string_view text) {
  constexpr std::string_view kPrefix = "sha256:";
  const auto fail = [&](std::string_view why) {
    throw IntegrityError(cat("\"", printable(text.substr(0, 100)), "\" is not a digest: ", why));
  };
  if (!text.starts_with(kPrefix)) fail("it must start with \"sha256:\"");
  const std::string_view hex = text.substr(kPrefix.size());
  if (hex.size() != 2 * kSize) fail("it needs exactly 64 hex digits");
  std::array<std::byte, kSize> raw{};
  for (std::size_t i = 0; i < kSize; ++i) {
    const int high = hex_value(hex[2 * i]);
    const int low = hex_value(hex[2 * i + 1]);
    if (high < 0 || low < 0) fail("only the digits 0-9 and a-f are allowed");
    raw[i] = static_cast<std::byte>(high * 16 + low);
  }
  return Digest(raw);
}

std::string Digest::hex() const { return to_hex({reinterpret_cast<const char*>(raw_.data()), raw_.size()}); }

std::string Digest::str() const { return "sha256:" + hex(); }

}  // namespace imgbuild
