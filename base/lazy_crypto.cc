#include "base/lazy_crypto.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/lazy_library.h"

namespace {

constexpr imgbuild::LazyLibrary kCrypto("libcrypto.so.3");

}  // namespace

#define LAZY(result, name, parameters, arguments) \
  IMGBUILD_LAZY_FUNCTION(kCrypto, result, name, parameters, arguments)

LAZY(long, BIO_ctrl, (BIO * bp, int cmd, long larg, void* parg), (bp, cmd, larg, parg))
LAZY(int, BIO_free, (BIO * a), (a))
LAZY(BIO*, BIO_new, (const BIO_METHOD* type), (type))
LAZY(BIO*, BIO_new_mem_buf, (const void* buf, int len), (buf, len))
LAZY(const BIO_METHOD*, BIO_s_mem, (), ())
LAZY(void, BN_CTX_free, (BN_CTX * c), (c))
LAZY(BN_CTX*, BN_CTX_secure_new, (), ())
LAZY(BIGNUM*, BN_bin2bn, (const unsigned char* s, int len, BIGNUM* ret), (s, len, ret))
LAZY(int, BN_bn2bin, (const BIGNUM* a, unsigned char* to), (a, to))
LAZY(void, BN_clear_free, (BIGNUM * a), (a))
LAZY(int, BN_div, (BIGNUM * dv, BIGNUM* rem, const BIGNUM* m, const BIGNUM* d, BN_CTX* ctx),
     (dv, rem, m, d, ctx))
LAZY(BIGNUM*, BN_dup, (const BIGNUM* a), (a))
LAZY(int, BN_is_zero, (const BIGNUM* a), (a))
LAZY(int, BN_num_bits, (const BIGNUM* a), (a))
LAZY(BIGNUM*, BN_secure_new, (), ())
LAZY(int, BN_sub_word, (BIGNUM * a, unsigned long w), (a, w))
LAZY(void, ECDSA_SIG_free, (ECDSA_SIG * sig), (sig))
LAZY(const BIGNUM*, ECDSA_SIG_get0_r, (const ECDSA_SIG* sig), (sig))
LAZY(const BIGNUM*, ECDSA_SIG_get0_s, (const ECDSA_SIG* sig), (sig))
LAZY(void, ERR_clear_error, (), ())
LAZY(unsigned long, ERR_peek_last_error, (), ())
LAZY(int, EVP_DecodeBlock, (unsigned char* t, const unsigned char* f, int n), (t, f, n))
LAZY(int, EVP_DigestFinal_ex, (EVP_MD_CTX * ctx, unsigned char* md, unsigned int* s), (ctx, md, s))
LAZY(int, EVP_DigestInit_ex, (EVP_MD_CTX * ctx, const EVP_MD* type, ENGINE* impl), (ctx, type, impl))
LAZY(int, EVP_DigestSign,
     (EVP_MD_CTX * ctx, unsigned char* sigret, size_t* siglen, const unsigned char* tbs, size_t tbslen),
     (ctx, sigret, siglen, tbs, tbslen))
LAZY(int, EVP_DigestSignInit,
     (EVP_MD_CTX * ctx, EVP_PKEY_CTX** pctx, const EVP_MD* type, ENGINE* e, EVP_PKEY* pkey),
     (ctx, pctx, type, e, pkey))
LAZY(int, EVP_DigestUpdate, (EVP_MD_CTX * ctx, const void* d, size_t cnt), (ctx, d, cnt))
LAZY(void, EVP_MD_CTX_free, (EVP_MD_CTX * ctx), (ctx))
LAZY(EVP_MD_CTX*, EVP_MD_CTX_new, (), ())
LAZY(EVP_MD*, EVP_MD_fetch, (OSSL_LIB_CTX * ctx, const char* algorithm, const char* properties),
     (ctx, algorithm, properties))
LAZY(void, EVP_PKEY_CTX_free, (EVP_PKEY_CTX * ctx), (ctx))
LAZY(EVP_PKEY_CTX*, EVP_PKEY_CTX_new_from_name,
     (OSSL_LIB_CTX * libctx, const char* name, const char* propquery), (libctx, name, propquery))
LAZY(EVP_PKEY_CTX*, EVP_PKEY_CTX_new_from_pkey,
     (OSSL_LIB_CTX * libctx, EVP_PKEY* pkey, const char* propquery), (libctx, pkey, propquery))
LAZY(void, EVP_PKEY_free, (EVP_PKEY * pkey), (pkey))
LAZY(int, EVP_PKEY_fromdata, (EVP_PKEY_CTX * ctx, EVP_PKEY** ppkey, int selection, OSSL_PARAM* param),
     (ctx, ppkey, selection, param))
LAZY(int, EVP_PKEY_fromdata_init, (EVP_PKEY_CTX * ctx), (ctx))
LAZY(int, EVP_PKEY_get_bits, (const EVP_PKEY* pkey), (pkey))
LAZY(int, EVP_PKEY_get_bn_param, (const EVP_PKEY* pkey, const char* key_name, BIGNUM** bn),
     (pkey, key_name, bn))
LAZY(int, EVP_PKEY_get_id, (const EVP_PKEY* pkey), (pkey))
LAZY(int, EVP_PKEY_get_raw_public_key, (const EVP_PKEY* pkey, unsigned char* pub, size_t* len),
     (pkey, pub, len))
LAZY(int, EVP_PKEY_get_utf8_string_param,
     (const EVP_PKEY* pkey, const char* key_name, char* str, size_t max_buf_sz, size_t* out_sz),
     (pkey, key_name, str, max_buf_sz, out_sz))
LAZY(EVP_PKEY*, EVP_PKEY_new_raw_private_key, (int type, ENGINE* e, const unsigned char* priv, size_t len),
     (type, e, priv, len))
LAZY(int, EVP_PKEY_pairwise_check, (EVP_PKEY_CTX * ctx), (ctx))
LAZY(const EVP_MD*, EVP_sha256, (), ())
LAZY(const EVP_MD*, EVP_sha384, (), ())
LAZY(const EVP_MD*, EVP_sha512, (), ())
LAZY(void, OSSL_PARAM_BLD_free, (OSSL_PARAM_BLD * bld), (bld))
LAZY(OSSL_PARAM_BLD*, OSSL_PARAM_BLD_new, (), ())
LAZY(int, OSSL_PARAM_BLD_push_BN, (OSSL_PARAM_BLD * bld, const char* key, const BIGNUM* bn), (bld, key, bn))
LAZY(int, OSSL_PARAM_BLD_push_octet_string,
     (OSSL_PARAM_BLD * bld, const char* key, const void* buf, size_t bsize), (bld, key, buf, bsize))
LAZY(int, OSSL_PARAM_BLD_push_utf8_string,
     (OSSL_PARAM_BLD * bld, const char* key, const char* buf, size_t bsize), (bld, key, buf, bsize))
LAZY(OSSL_PARAM*, OSSL_PARAM_BLD_to_param, (OSSL_PARAM_BLD * bld), (bld))
LAZY(void, OSSL_PARAM_free, (OSSL_PARAM * p), (p))
LAZY(EVP_PKEY*, PEM_read_bio_PrivateKey, (BIO * out, EVP_PKEY** x, pem_password_cb* cb, void* u),
     (out, x, cb, u))
LAZY(X509*, PEM_read_bio_X509, (BIO * out, X509** x, pem_password_cb* cb, void* u), (out, x, cb, u))
LAZY(int, PEM_write_bio_X509, (BIO * out, const X509* x), (out, x))
LAZY(void, X509_free, (X509 * a), (a))
LAZY(ECDSA_SIG*, d2i_ECDSA_SIG, (ECDSA_SIG * *a, const unsigned char** in, long len), (a, in, len))

#undef LAZY

namespace imgbuild {

void require_crypto_library() { kCrypto.require(); }

}  // namespace imgbuild
