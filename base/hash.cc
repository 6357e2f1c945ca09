#include "base/hash.h"

#include <nettle/sha2.h>
#include <openssl/evp.h>

#include <array>
#include <atomic>
#include <new>
#include <variant>

#include "base/error.h"
#include "base/lazy_crypto.h"

namespace imgbuild {

namespace {

/// From here on OpenSSL has won back the milliseconds that loading it takes.
constexpr std::uint64_t kWorthLoading = 64 << 20;
/// From here on it has won back what an object of it costs, once it is loaded.
constexpr std::uint64_t kWorthUsing = 64 << 10;

/// OpenSSL's algorithm, null where the library cannot be had: nettle does it as well.
const EVP_MD* load_openssl() {
  try {
    require_crypto_library();
  } catch (const UnsupportedError&) {
    return nullptr;
  }
  return EVP_MD_fetch(nullptr, "SHA256", nullptr);  // never freed: threads may hash until the program ends
}

const EVP_MD* openssl_for(std::uint64_t expected) {
  static std::atomic<const EVP_MD*> loaded{nullptr};
  if (expected < kWorthLoading)
    return expected < kWorthUsing ? nullptr : loaded.load(std::memory_order_acquire);
  static const EVP_MD* const algorithm = load_openssl();
  loaded.store(algorithm, std::memory_order_release);
  return algorithm;
}

void require(int success) {
  if (success != 1) throw Error("OpenSSL cannot compute a SHA-256");
}

const std::uint8_t* octets(std::string_view bytes) {
  return reinterpret_cast<const std::uint8_t*>(bytes.data());
}

}  // namespace

struct Sha256::State {
  struct FreeContext {
    void operator()(EVP_MD_CTX* object) const noexcept { EVP_MD_CTX_free(object); }
  };
  using Openssl = std::unique_ptr<EVP_MD_CTX, FreeContext>;

  std::variant<sha256_ctx, Openssl> context;
  bool failed = false;  ///< told by finish(): update() runs where nobody waits for an exception

  explicit State(std::uint64_t expected) {
    const EVP_MD* const algorithm = openssl_for(expected);
    if (algorithm == nullptr) {
      sha256_init(&std::get<sha256_ctx>(context));
      return;
    }
    Openssl openssl(EVP_MD_CTX_new());
    if (!openssl) throw std::bad_alloc();
    require(EVP_DigestInit_ex(openssl.get(), algorithm, nullptr));
    context = std::move(openssl);
  }
};

Sha256::Sha256(std::uint64_t expected) : state_(std::make_unique<State>(expected)) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::string_view bytes) {
  if (auto* nettle = std::get_if<sha256_ctx>(&state_->context))
    sha256_update(nettle, bytes.size(), octets(bytes));
  else
    state_->failed |=
        EVP_DigestUpdate(std::get<State::Openssl>(state_->context).get(), bytes.data(), bytes.size()) != 1;
}

Digest Sha256::finish() {
  require(state_->failed ? 0 : 1);
  std::array<std::byte, Digest::kSize> raw{};
  auto* const out = reinterpret_cast<std::uint8_t*>(raw.data());
  if (auto* nettle = std::get_if<sha256_ctx>(&state_->context))
    sha256_digest(nettle, raw.size(), out);
  else
    require(EVP_DigestFinal_ex(std::get<State::Openssl>(state_->context).get(), out, nullptr));
  return Digest::from_bytes(raw);
}

Digest sha256(std::string_view bytes) {
  Sha256 hash(bytes.size());
  hash.update(bytes);
  return hash.finish();
}

}  // namespace imgbuild
