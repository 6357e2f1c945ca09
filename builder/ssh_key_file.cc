#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/lazy_crypto.h"
#include "base/secret_bytes.h"
#include "base/strings.h"
#include "builder/ssh_keys.h"
#include "builder/ssh_wire.h"

namespace imgbuild::builder {

namespace {

constexpr std::string_view kBegin = "-----BEGIN OPENSSH PRIVATE KEY-----";
constexpr std::string_view kEnd = "-----END OPENSSH PRIVATE KEY-----";
constexpr std::string_view kMagic{"openssh-key-v1\0", 15};
constexpr int kShortestRsa = 2048;

struct Curve {
  std::string_view ssh, openssl;
  std::size_t bytes;
};
constexpr std::array<Curve, 3> kCurves = {
    {{"nistp256", "prime256v1", 32}, {"nistp384", "secp384r1", 48}, {"nistp521", "secp521r1", 66}}};

template <typename T, void (*Function)(T*)>
struct Release {
  void operator()(T* object) const noexcept { Function(object); }
};
using Number = std::unique_ptr<BIGNUM, Release<BIGNUM, BN_clear_free>>;
using Context = std::unique_ptr<EVP_PKEY_CTX, Release<EVP_PKEY_CTX, EVP_PKEY_CTX_free>>;
using Builder = std::unique_ptr<OSSL_PARAM_BLD, Release<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, Release<OSSL_PARAM, OSSL_PARAM_free>>;
struct FreeBio {
  void operator()(BIO* bio) const noexcept { BIO_free(bio); }
};
using KeyPointer = decltype(SshKey::key);

/// Reads one key; every failure names the file.
class KeyFile {
 public:
  KeyFile(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  SshKey read() {
    SshKey out;
    const auto begin = text_.find(kBegin);
    if (begin != std::string_view::npos)
      read_openssh(out, begin + kBegin.size());
    else
      read_pem(out);
    describe(out);
    if (out.comment.empty()) out.comment = name_.substr(name_.rfind('/') + 1);
    return out;
  }

 private:
  [[noreturn]] void refuse(const std::string& why, const std::string& note = {}) const {
    Error error(cat("the ssh key ", printable(name_), " ", why), ExitCode::usage);
    if (!note.empty()) error.add_note(note);
    throw error;
  }
  [[noreturn]] void refuse_passphrase() const {
    refuse("has a passphrase", "add it to an agent and forward that: ssh-add KEY, then --ssh default");
  }
  [[noreturn]] void damaged() const { refuse("is damaged"); }

  void read_pem(SshKey& out) {
    const std::unique_ptr<BIO, FreeBio> bio(BIO_new_mem_buf(text_.data(), static_cast<int>(text_.size())));
    if (!bio) throw std::bad_alloc();
    bool asked = false;
    const auto no_passphrase = [](char*, int, int, void* flag) {
      *static_cast<bool*>(flag) = true;
      return -1;
    };
    out.key = KeyPointer(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, &asked));
    if (asked) refuse_passphrase();
    if (!out.key) refuse("is no private key that can be read", "OpenSSH's format and PEM are");
  }

  void read_openssh(SshKey& out, std::size_t begin) {
    const auto end = text_.find(kEnd, begin);
    if (end == std::string_view::npos) damaged();
    std::string packed = decode(text_.substr(begin, end - begin));
    try {
      read_packed(out, packed);
    } catch (...) {
      wipe(packed);
      throw;
    }
    wipe(packed);
  }

  std::string decode(std::string_view lines) const {
    std::string text;
    for (const char c : lines)
      if (c != '\n' && c != '\r' && c != ' ' && c != '\t') text += c;
    if (text.empty() || text.size() % 4 != 0) damaged();
    std::string out(text.size() / 4 * 3, '\0');
    const int size =
        EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                        reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
    if (size < 0) damaged();
    out.resize(static_cast<std::size_t>(size) - (text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0));
    wipe(text);
    return out;
  }

  void read_packed(SshKey& out, std::string_view packed) {
    if (!packed.starts_with(kMagic)) damaged();
    SshReader outer(packed.substr(kMagic.size()));
    const auto cipher = outer.string();
    const auto method = outer.string();
    const auto options = outer.string();
    const auto count = outer.number();
    const auto public_part = outer.string();
    const auto private_part = outer.string();
    if (!private_part || !options || !method || !public_part || count != 1u) damaged();
    if (*cipher != "none") refuse_passphrase();
    SshReader inner(*private_part);
    const auto check = inner.number();
    if (!check || inner.number() != check) damaged();
    const auto type = inner.string();
    if (!type) damaged();
    if (*type == "ssh-ed25519")
      read_ed25519(out, inner);
    else if (*type == "ssh-rsa")
      read_rsa(out, inner);
    else if (type->starts_with("ecdsa-sha2-"))
      read_ecdsa(out, inner);
    else
      refuse(cat("is of the type ", printable(*type), ", which is not supported"),
             "ed25519, rsa and ecdsa are");
    const auto comment = inner.string();
    if (!comment) damaged();
    out.comment = std::string(*comment);
  }

  void read_ed25519(SshKey& out, SshReader& in) {
    const auto public_key = in.string();
    const auto both = in.string();
    if (!both || both->size() != 64 || public_key != both->substr(32)) damaged();
    out.key = KeyPointer(EVP_PKEY_new_raw_private_key(
        EVP_PKEY_ED25519, nullptr, reinterpret_cast<const unsigned char*>(both->data()), 32));
    if (!out.key) damaged();
  }

  Number number(std::optional<std::string_view> bytes) const {
    if (!bytes || bytes->size() > 4096) damaged();
    Number out(BN_secure_new());
    if (!out || BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes->data()),
                          static_cast<int>(bytes->size()), out.get()) == nullptr)
      throw std::bad_alloc();
    return out;
  }

  /// The private exponent for one prime: d mod (prime - 1).
  Number remainder(const BIGNUM& d, const BIGNUM& prime) const {
    const std::unique_ptr<BN_CTX, Release<BN_CTX, BN_CTX_free>> context(BN_CTX_secure_new());
    Number less(BN_dup(&prime)), out(BN_secure_new());
    if (!context || !less || !out) throw std::bad_alloc();
    if (BN_sub_word(less.get(), 1) != 1 || BN_is_zero(less.get()) ||
        BN_mod(out.get(), &d, less.get(), context.get()) != 1)
      damaged();
    return out;
  }

  void read_rsa(SshKey& out, SshReader& in) {
    const Number n = number(in.string()), e = number(in.string()), d = number(in.string());
    const Number inverse = number(in.string()), p = number(in.string()), q = number(in.string());
    const Number exponent_p = remainder(*d, *p), exponent_q = remainder(*d, *q);
    const Builder builder(OSSL_PARAM_BLD_new());
    const bool filled =
        builder && OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_D, d.get()) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_FACTOR1, p.get()) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_FACTOR2, q.get()) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_EXPONENT1, exponent_p.get()) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_EXPONENT2, exponent_q.get()) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_COEFFICIENT1, inverse.get()) == 1;
    if (!filled) throw std::bad_alloc();
    make(out, "RSA", *builder);
  }

  void read_ecdsa(SshKey& out, SshReader& in) {
    const auto curve = in.string();
    const auto point = in.string();
    const Number secret = number(in.string());
    const auto known =
        std::find_if(kCurves.begin(), kCurves.end(), [&](const Curve& c) { return curve == c.ssh; });
    if (known == kCurves.end() || !point) damaged();
    const Builder builder(OSSL_PARAM_BLD_new());
    const bool filled = builder &&
                        OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME,
                                                        known->openssl.data(), 0) == 1 &&
                        OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY,
                                                         point->data(), point->size()) == 1 &&
                        OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY, secret.get()) == 1;
    if (!filled) throw std::bad_alloc();
    make(out, "EC", *builder);
  }

  void make(SshKey& out, const char* kind, OSSL_PARAM_BLD& builder) const {
    const Params params(OSSL_PARAM_BLD_to_param(&builder));
    const Context context(EVP_PKEY_CTX_new_from_name(nullptr, kind, nullptr));
    EVP_PKEY* made = nullptr;
    if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
        EVP_PKEY_fromdata(context.get(), &made, EVP_PKEY_KEYPAIR, params.get()) != 1)
      damaged();
    out.key = KeyPointer(made);
    const Context check(EVP_PKEY_CTX_new_from_pkey(nullptr, made, nullptr));
    if (!check || EVP_PKEY_pairwise_check(check.get()) != 1) damaged();
  }

  std::string bytes_of(const EVP_PKEY* key, const char* name) const {
    BIGNUM* raw = nullptr;
    if (EVP_PKEY_get_bn_param(key, name, &raw) != 1) damaged();
    const Number value(raw);
    std::string out(static_cast<std::size_t>(BN_num_bytes(raw)), '\0');
    BN_bn2bin(raw, reinterpret_cast<unsigned char*>(out.data()));
    return out;
  }

  /// The public half, as an agent shows it.
  void describe(SshKey& out) const {
    EVP_PKEY* key = out.key.get();
    switch (EVP_PKEY_get_id(key)) {
      case EVP_PKEY_ED25519: {
        unsigned char raw[32];
        std::size_t size = sizeof raw;
        if (EVP_PKEY_get_raw_public_key(key, raw, &size) != 1) damaged();
        out.algorithm = "ssh-ed25519";
        out.public_blob =
            cat(ssh_string(out.algorithm), ssh_string({reinterpret_cast<const char*>(raw), size}));
        return;
      }
      case EVP_PKEY_RSA:
        if (EVP_PKEY_get_bits(key) < kShortestRsa) refuse(cat("is shorter than ", kShortestRsa, " bits"));
        out.algorithm = "ssh-rsa";
        out.public_blob = cat(ssh_string(out.algorithm), ssh_mpint(bytes_of(key, OSSL_PKEY_PARAM_RSA_E)),
                              ssh_mpint(bytes_of(key, OSSL_PKEY_PARAM_RSA_N)));
        return;
      case EVP_PKEY_EC:
        return describe_ecdsa(out);
      default:
        refuse("is of a type that is not supported", "ed25519, rsa and ecdsa are");
    }
  }

  void describe_ecdsa(SshKey& out) const {
    char group[64];
    std::size_t size = 0;
    if (EVP_PKEY_get_utf8_string_param(out.key.get(), OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group,
                                       &size) != 1)
      damaged();
    const auto known =
        std::find_if(kCurves.begin(), kCurves.end(), [&](const Curve& c) { return c.openssl == group; });
    if (known == kCurves.end()) refuse(cat("uses the curve ", printable(group), ", which ssh does not know"));
    const auto coordinate = [&](const char* name) {
      const std::string bytes = bytes_of(out.key.get(), name);
      return cat(std::string(known->bytes - std::min(known->bytes, bytes.size()), '\0'), bytes);
    };
    const std::string point =
        cat('\4', coordinate(OSSL_PKEY_PARAM_EC_PUB_X), coordinate(OSSL_PKEY_PARAM_EC_PUB_Y));
    out.algorithm = cat("ecdsa-sha2-", known->ssh);
    out.public_blob = cat(ssh_string(out.algorithm), ssh_string(known->ssh), ssh_string(point));
  }

  std::string_view text_;
  const std::string& name_;
};

}  // namespace

SshKey parse_ssh_key(std::string_view text, const std::string& name) {
  require_crypto_library();
  return KeyFile(text, name).read();
}

}  // namespace imgbuild::builder
