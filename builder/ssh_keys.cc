#include "builder/ssh_keys.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>

#include <algorithm>
#include <optional>

#include "base/strings.h"
#include "builder/ssh_wire.h"

namespace imgbuild::builder {

namespace {

constexpr char kFailure = 5;
constexpr char kRequestIdentities = 11;
constexpr char kIdentitiesAnswer = 12;
constexpr char kSignRequest = 13;
constexpr char kSignResponse = 14;
constexpr std::uint32_t kRsaSha256 = 2, kRsaSha512 = 4;  // flags of a sign request

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};
struct FreeSignature {
  void operator()(ECDSA_SIG* signature) const noexcept { ECDSA_SIG_free(signature); }
};

/// How a key signs: the name that goes out with the signature, and the hash; nullptr: the key's own.
struct Method {
  std::string name;
  const EVP_MD* hash = nullptr;
};

std::optional<Method> method_of(const SshKey& key, std::uint32_t flags) {
  if (key.algorithm == "ssh-ed25519") return Method{key.algorithm, nullptr};
  if (key.algorithm == "ecdsa-sha2-nistp256") return Method{key.algorithm, EVP_sha256()};
  if (key.algorithm == "ecdsa-sha2-nistp384") return Method{key.algorithm, EVP_sha384()};
  if (key.algorithm == "ecdsa-sha2-nistp521") return Method{key.algorithm, EVP_sha512()};
  if ((flags & kRsaSha512) != 0) return Method{"rsa-sha2-512", EVP_sha512()};
  if ((flags & kRsaSha256) != 0) return Method{"rsa-sha2-256", EVP_sha256()};
  return std::nullopt;  // SHA-1
}

std::optional<std::string> sign_with(const SshKey& key, const Method& method, std::string_view data) {
  const std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
  const auto* bytes = reinterpret_cast<const unsigned char*>(data.data());
  std::size_t size = 0;
  if (!context || EVP_DigestSignInit(context.get(), nullptr, method.hash, nullptr, key.key.get()) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, bytes, data.size()) != 1)
    return std::nullopt;
  std::string out(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, bytes,
                     data.size()) != 1)
    return std::nullopt;
  out.resize(size);
  return out;
}

std::string number_bytes(const BIGNUM* number) {
  std::string out(static_cast<std::size_t>(BN_num_bytes(number)), '\0');
  BN_bn2bin(number, reinterpret_cast<unsigned char*>(out.data()));
  return out;
}

/// OpenSSL gives DER, ssh wants two numbers (RFC 5656, 3.1.2).
std::optional<std::string> ecdsa_for_ssh(const std::string& der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const std::unique_ptr<ECDSA_SIG, FreeSignature> signature(
      d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  if (!signature) return std::nullopt;
  return cat(ssh_mpint(number_bytes(ECDSA_SIG_get0_r(signature.get()))),
             ssh_mpint(number_bytes(ECDSA_SIG_get0_s(signature.get()))));
}

}  // namespace

void SshKey::Free::operator()(evp_pkey_st* key) const noexcept { EVP_PKEY_free(key); }

std::string SshKeys::answer(std::string_view request) const {
  if (request == std::string_view(&kRequestIdentities, 1)) return identities();
  if (request.starts_with(kSignRequest)) return sign(request.substr(1));
  return std::string(1, kFailure);
}

std::string SshKeys::identities() const {
  std::string out = cat(kIdentitiesAnswer, ssh_number(static_cast<std::uint32_t>(keys_.size())));
  for (const auto& key : keys_) out += cat(ssh_string(key.public_blob), ssh_string(key.comment));
  return out;
}

std::string SshKeys::sign(std::string_view rest) const {
  const std::string failure(1, kFailure);
  SshReader in(rest);
  const auto blob = in.string();
  const auto data = in.string();
  const auto flags = in.number();
  if (!flags || !in.rest().empty()) return failure;
  const auto key =
      std::find_if(keys_.begin(), keys_.end(), [&](const SshKey& one) { return one.public_blob == *blob; });
  if (key == keys_.end()) return failure;
  const auto method = method_of(*key, *flags);
  if (!method) return failure;
  auto signature = sign_with(*key, *method, *data);
  if (signature && key->algorithm.starts_with("ecdsa-")) signature = ecdsa_for_ssh(*signature);
  if (!signature) return failure;
  return cat(kSignResponse, ssh_string(cat(ssh_string(method->name), ssh_string(*signature))));
}

}  // namespace imgbuild::builder
