#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct evp_pkey_st;

namespace imgbuild::builder {

/// A private key as an agent offers it. Owns the key; OpenSSL wipes it in the end.
struct SshKey {
  struct Free {
    void operator()(evp_pkey_st* key) const noexcept;
  };
  std::unique_ptr<evp_pkey_st, Free> key;
  std::string algorithm;    ///< "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256"…
  std::string public_blob;  ///< as in the protocol
  std::string comment;
};

/// Reads a private key without a passphrase: OpenSSH's own format, PKCS #8, or the older PEM forms; ed25519,
/// rsa from 2048 bits, ecdsa on the three NIST curves. `name` is for messages. Throws Error that says what is
/// wrong and what to try; never quotes the text.
SshKey parse_ssh_key(std::string_view text, const std::string& name);

/// The keys of one agent of our own, which holds nothing else (SEC-20). Immutable, thread-safe.
class SshKeys {
 public:
  explicit SshKeys(std::vector<SshKey> keys) : keys_(std::move(keys)) {}

  /// Answers one message of the agent protocol (draft-miller-ssh-agent), both without the length in front:
  /// identities are listed, data is signed, everything else fails. RSA with SHA-1 is refused.
  std::string answer(std::string_view request) const;

 private:
  std::string identities() const;
  std::string sign(std::string_view rest) const;

  std::vector<SshKey> keys_;
};

}  // namespace imgbuild::builder
