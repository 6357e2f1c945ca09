#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "oci/http.h"

namespace imgbuild::oci {

/// One challenge of a WWW-Authenticate header. Scheme and parameter names are lowercase.
struct Challenge {
  std::string scheme;
  std::map<std::string, std::string> parameters;
};

/// Reads all values of WWW-Authenticate: several headers, several challenges in one header, quoted strings
/// (REG-16). What cannot be read ends that header; what came before counts.
std::vector<Challenge> parse_challenges(const std::vector<std::string>& header_values);

/// Who we are for one registry. A user with a password, or an identity token that is exchanged (REG-19).
struct RegistryCredentials {
  std::string user;
  std::string secret;
  std::string identity_token;
};

struct RegistryAuthOptions {
  /// Credentials for a registry host as references name it; nothing: anonymous. Called from any thread.
  std::function<std::optional<RegistryCredentials>(const std::string& registry)> credentials;
  /// Token servers that credentials may be sent to although they are on another domain (NET-8).
  std::vector<std::string> trusted_realms;
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
};

/// On whose behalf a request is authorised.
struct AuthTarget {
  std::string registry;      ///< as references name it
  HttpUrl url;               ///< of the request that was challenged
  std::string scope;         ///< ours, "repository:a/b:pull"; never the challenge's (NET-8)
  bool insecure = false;     ///< declared so, or loopback: plain HTTP is in order
  std::string peer_address;  ///< the registry's, for judging where a realm leads
};

/// Answers the challenges of registries, with tokens kept in memory for their lifetime. Thread-safe;
/// concurrent requests for one scope wait for one token (REG-21).
class RegistryAuth {
 public:
  RegistryAuth(HttpClient& http, RegistryAuthOptions options);

  /// What to send with a first request: a kept token, or nothing.
  std::string known(const std::string& registry, const std::string& scope);
  /// Answers a 401 whose request carried `refused` (a header value, may be empty). Throws RegistryError when
  /// no challenge can be answered, a realm must not be asked (NET-8), or the token server refuses.
  std::string answer(const AuthTarget& target, const std::vector<std::string>& www_authenticate,
                     const std::string& refused, std::stop_token stop);

 private:
  struct Slot {
    std::mutex mutex;
    std::string header;
    std::chrono::steady_clock::time_point expires;
  };
  std::shared_ptr<Slot> slot(const std::string& registry, const std::string& scope);
  HttpUrl check_realm(const AuthTarget& target, const Challenge& challenge) const;
  bool may_send_credentials(const AuthTarget& target, const HttpUrl& realm) const;
  HttpResponse ask(const AuthTarget& target, const Challenge& challenge, const HttpUrl& realm,
                   const std::optional<RegistryCredentials>& who, std::stop_token stop);
  void store_token(Slot& slot, const HttpUrl& realm, const std::string& body);

  HttpClient& http_;
  RegistryAuthOptions options_;
  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<Slot>> slots_;
};

/// Percent-encodes everything but unreserved characters (and `keep`).
std::string percent_encode(std::string_view text, std::string_view keep = {});
std::string base64_encode(std::string_view bytes);

}  // namespace imgbuild::oci
