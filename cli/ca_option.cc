#include "cli/ca_option.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>

#include "base/error.h"
#include "base/lazy_crypto.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "builder/ca_cover.h"

namespace imgbuild::cli {

namespace {

constexpr std::uint64_t kMaxBundle = std::uint64_t{4} << 20;
constexpr std::uint64_t kMaxSystemBundle = std::uint64_t{16} << 20;

struct FreeBio {
  void operator()(BIO* bio) const noexcept { BIO_free(bio); }
};
struct FreeCertificate {
  void operator()(X509* certificate) const noexcept { X509_free(certificate); }
};

Error refuse(const std::string& path, const std::string& why) {
  return Error(cat("--ca-bundle: ", printable(path), " ", why), ExitCode::usage);
}

/// The certificates alone, written anew: what stands around them is for people.
std::string certificates_of(const std::string& text, const std::string& path) {
  const std::unique_ptr<BIO, FreeBio> in(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  const std::unique_ptr<BIO, FreeBio> out(BIO_new(BIO_s_mem()));
  if (!in || !out) throw std::bad_alloc();
  int count = 0;
  while (const std::unique_ptr<X509, FreeCertificate> one{
      PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)}) {
    if (PEM_write_bio_X509(out.get(), one.get()) != 1) throw std::bad_alloc();
    ++count;
  }
  const auto reason = ERR_GET_REASON(ERR_peek_last_error());
  ERR_clear_error();
  if (reason != PEM_R_NO_START_LINE) throw refuse(path, cat("is damaged after ", count, " certificates"));
  if (count == 0)
    throw refuse(path, "holds no certificate").with_note("it must be PEM: -----BEGIN CERTIFICATE-----");
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(out.get(), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

std::string read_system_bundle(const std::string& ca_file) {
  std::vector<std::string> paths = builder::ca_bundle_paths();
  if (!ca_file.empty()) paths.insert(paths.begin(), ca_file);
  for (const auto& path : paths) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (file) return read_file(file.get(), kMaxSystemBundle, path);
  }
  return {};
}

}  // namespace

builder::CaBundle read_ca_bundle(const std::string& path, const std::string& ca_file) {
  require_crypto_library();
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file) throw refuse(path, "cannot be opened");
  const std::string text = read_file(file.get(), kMaxBundle, path);
  if (text.find("PRIVATE KEY-----") != std::string::npos) {
    throw refuse(path, "holds a private key")
        .with_note("give the certificates alone: RUN steps can read this file");
  }
  return {.pem = certificates_of(text, path), .system = read_system_bundle(ca_file)};
}

}  // namespace imgbuild::cli
