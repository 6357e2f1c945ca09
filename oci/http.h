#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/stream.h"
#include "oci/http_url.h"

namespace imgbuild::oci {

/// A transfer broke: no connection, reset, timeout, bytes missing. Trying again may help.
class TransferError : public RegistryError {
 public:
  using RegistryError::RegistryError;
};

/// How to reach servers. Given by the caller: nothing is read from the environment.
struct HttpOptions {
  std::string user_agent = "imgbuild";
  std::string http_proxy;   ///< for http URLs; empty: direct
  std::string https_proxy;  ///< for https URLs; empty: direct
  std::string no_proxy;     ///< hosts and suffixes, comma-separated; "*": no proxy at all
  std::string ca_file;      ///< instead of the system's certificates
  std::string ca_directory;
  std::string ca_pem;                                 ///< certificates themselves, instead of ca_file
  std::chrono::milliseconds connect_timeout{30'000};  ///< name, TCP and TLS together (NET-11)
  std::chrono::seconds idle_timeout{60};  ///< gives up when slower than min_bytes_per_second for so long
  long min_bytes_per_second = 1024;
  int max_redirects = 5;  ///< NET-7
};

/// Names are compared without case; a name may come more than once.
class HttpHeaders {
 public:
  void add(std::string name, std::string value) { all_.emplace_back(std::move(name), std::move(value)); }
  /// The first value, nothing when there is none.
  std::optional<std::string> find(std::string_view name) const;
  std::vector<std::string> all(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& list() const noexcept { return all_; }
  void clear() noexcept { all_.clear(); }

 private:
  std::vector<std::pair<std::string, std::string>> all_;
};

struct HttpResponse {
  int status = 0;
  HttpHeaders headers;
  std::string url;           ///< of the last hop
  std::string peer_address;  ///< IP literal the last hop was connected to
  std::string body;          ///< unless a sink took it
  std::optional<std::uint64_t> content_length() const;
};

struct HttpRequest {
  std::string method = "GET";  ///< GET, HEAD, POST, PUT, PATCH, DELETE
  std::string url;
  HttpHeaders headers;        ///< nothing secret: they go to every hop
  std::string authorization;  ///< complete value; sent to the first URL's origin only (NET-7)
  std::function<std::unique_ptr<Source>()> body;  ///< opens the request body, anew for each hop
  std::uint64_t body_size = 0;
  /// Asked once per request, when the headers of the final answer are known: where its body goes. nullptr (or
  /// unset): into HttpResponse::body.
  std::function<Sink*(const HttpResponse&)> sink_for;
  std::uint64_t body_limit = 4u << 20;    ///< more is an error; the body of a failure is cut at 64 KiB
  std::chrono::seconds total_timeout{0};  ///< 0: none
  bool verify_tls = true;
  bool allow_downgrade = false;  ///< https → http redirects, for hosts declared insecure
  bool follow_redirects = true;
  bool global_addresses_only = false;  ///< refuses loopback and private addresses at every hop (NET-21)
  bool decode_content = true;          ///< undoes a Content-Encoding nobody asked for (REG-8)
};

/// HTTP over libcurl. One per build; thread-safe; keeps connections for reuse. Redirects are followed here:
/// each hop is checked, credentials never follow to another origin, https never becomes http (NET-7).
class HttpClient {
 public:
  explicit HttpClient(HttpOptions options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// Any status is an answer. Throws TransferError when the transfer broke, RegistryError when it may not or
  /// cannot be done, what the sink threw, or Cancelled.
  HttpResponse send(const HttpRequest& request, std::stop_token stop = {});

  const HttpOptions& options() const noexcept { return options_; }

 private:
  struct Connection;
  class Lease;
  friend class HttpHop;

  HttpOptions options_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Connection>> idle_;
};

/// Seconds since 1970 of an HTTP date; nothing when it is none.
std::optional<std::int64_t> parse_http_date(const std::string& text);

}  // namespace imgbuild::oci
