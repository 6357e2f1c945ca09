#include "base/hash.h"

#include <nettle/sha2.h>

#include <array>

namespace imgbuild {

struct Sha256::State {
  sha256_ctx context;
  State() { sha256_init(&context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::string_view bytes) {
  sha256_update(&state_->context, bytes.size(), reinterpret_cast<const std::uint8_t*>(bytes.data()));
}

Digest Sha256::finish() {
  std::array<std::byte, Digest::kSize> raw{};
  sha256_digest(&state_->context, raw.size(), reinterpret_cast<std::uint8_t*>(raw.data()));
  return Digest::from_bytes(raw);
}

Digest sha256(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

}  // namespace imgbuild
