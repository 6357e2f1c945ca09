#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "oci/blob_store.h"
#include "oci/descriptor.h"
#include "oci/http.h"
#include "oci/reference.h"
#include "oci/registry_auth.h"

namespace imgbuild::oci {

/// A registry answered, but not with what was asked for.
class RegistryStatusError : public RegistryError {
 public:
  RegistryStatusError(std::string message, int status) : RegistryError(std::move(message)), status_(status) {}
  int status() const noexcept { return status_; }

 private:
  int status_;
};

struct RegistryOptions {
  /// Hosts (`host` or `host:port`) without verified TLS: https unverified first, then http (REG-34). Loopback
  /// hosts that are not listed use http.
  std::set<std::string> insecure_hosts;
  /// Hosts to ask before a registry itself, when pulling (REG-35, REG-38): "docker.io" → {"mirror.example"}.
  std::map<std::string, std::vector<std::string>> mirrors;
  RegistryAuthOptions auth;
  int max_attempts = 5;                         ///< of one request, REG-49
  std::chrono::milliseconds first_delay{1000};  ///< doubled each time
  std::chrono::milliseconds longest_delay{60'000};
  /// Waits, or throws Cancelled. Unset: really waits.
  std::function<void(std::chrono::milliseconds, std::stop_token)> sleep;
};

/// A request to a registry, relative to the repository: "manifests/latest".
struct RegistryRequest {
  std::string method = "GET";
  std::string path;              ///< below /v2/NAME/
  std::string actions = "pull";  ///< "pull" or "pull,push": the scope asked for
  HttpHeaders headers;
  std::function<std::unique_ptr<Source>()> body;
  std::uint64_t body_size = 0;
  std::function<Sink*(const HttpResponse&)> sink_for;
  std::uint64_t body_limit = 4u << 20;
  bool retry = true;  ///< false: the caller handles broken transfers itself
};

/// The distribution API, pull side, of all registries. Thread-safe. Names, digests and sizes are checked
/// before they are used; what comes back is verified before it is returned or stored.
class Registry {
 public:
  struct Document {
    Descriptor descriptor;
    std::string bytes;
  };

  /// `http` outlives the registry.
  Registry(HttpClient& http, RegistryOptions options);

  /// Asks what `name` is at present, without its bytes (REG-41, REG-42). Nothing when the registry does not
  /// tell digest, size and type; the caller then loads it. Throws RegistryStatusError (404: there is no such
  /// image).
  std::optional<Descriptor> find_manifest(const Reference& name, std::stop_token stop = {});
  /// The manifest or index `selector` (tag or digest text) in the repository of `name`. Its bytes have the
  /// digest asked for and, if one is given, the size; Content-Type and body agree (NET-2, NET-3).
  Document load_manifest(const Reference& name, const std::string& selector,
                         std::optional<std::uint64_t> size = std::nullopt, std::stop_token stop = {});
  /// A small blob, verified. Throws RegistryError when it is declared longer than `limit`.
  std::string load_blob(const Reference& name, const Descriptor& blob, std::uint64_t limit,
                        std::stop_token stop = {});
  /// Streams a blob into `store`, resuming broken transfers; verified before it is committed (NET-5).
  /// `progress` gets the bytes received so far.
  void fetch_blob(const Reference& name, const Descriptor& blob, BlobStore& store,
                  const std::function<void(std::uint64_t)>& progress = {}, std::stop_token stop = {});

  /// One request with authorisation and retries; any status but 401 and those retried in vain comes back.
  /// Tries mirrors first for reads. For callers that go beyond the functions above.
  HttpResponse call(const Reference& name, const RegistryRequest& request, std::stop_token stop);
  /// The error for an answer that is no success: status, first error code and message, sanitised (REG-51).
  static RegistryStatusError status_error(const std::string& what, const HttpResponse& response);

  /// Waits between attempt `attempt` (from 0) and the next, as Retry-After or the back-off says.
  void wait_before_retry(int attempt, const HttpResponse* response, std::stop_token stop);
  int max_attempts() const noexcept { return options_.max_attempts; }

 private:
  struct Endpoint {
    std::string host;
    bool is_mirror = false;
  };
  std::vector<Endpoint> endpoints(const Reference& name, const RegistryRequest& request) const;
  HttpResponse call_endpoint(const Endpoint& endpoint, const Reference& name, const RegistryRequest& request,
                             std::stop_token stop);
  HttpResponse call_with_retries(const Endpoint& endpoint, const std::string& base, const Reference& name,
                                 const RegistryRequest& request, std::stop_token stop);
  HttpResponse call_authorized(const Endpoint& endpoint, const std::string& base, const Reference& name,
                               const RegistryRequest& request, std::stop_token stop);
  bool is_insecure(const std::string& host) const;

  HttpClient& http_;
  RegistryOptions options_;
  RegistryAuth auth_;
  mutable std::mutex mutex_;
  std::map<std::string, std::string> schemes_;  ///< of insecure hosts, once known
};

}  // namespace imgbuild::oci
