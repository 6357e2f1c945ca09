#include "oci/http.h"

#include <curl/curl.h>

#include "base/strings.h"
#include "oci/http_hop.h"
#include "oci/lazy_curl.h"

namespace imgbuild::oci {

namespace {

constexpr std::size_t kIdleConnections = 16;

void initialise_curl() {
  require_curl();
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) throw RegistryError("HTTP client: libcurl cannot be initialised");
}

/// Whether the answer moves us on, and not just tells where something else is (REG-11).
bool must_follow(const HttpRequest& request, const HttpResponse& response) {
  if (!request.follow_redirects || !response.headers.find("Location")) return false;
  if (response.status == 307 || response.status == 308) return true;
  const bool reads = request.method == "GET" || request.method == "HEAD";
  return reads && (response.status == 301 || response.status == 302 || response.status == 303);
}

}  // namespace

std::optional<std::string> HttpHeaders::find(std::string_view name) const {
  for (const auto& [key, value] : all_) {
    if (equal_ignoring_case(key, name)) return value;
  }
  return std::nullopt;
}

std::vector<std::string> HttpHeaders::all(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [key, value] : all_) {
    if (equal_ignoring_case(key, name)) values.push_back(value);
  }
  return values;
}

std::optional<std::uint64_t> HttpResponse::content_length() const {
  const auto text = headers.find("Content-Length");
  return text ? parse_decimal(*text) : std::nullopt;
}

/// A multi handle with its own connection cache, and the one transfer it runs at a time.
struct HttpClient::Connection {
  Connection() : multi(curl_multi_init()), easy(curl_easy_init()) {
    if (multi == nullptr || easy == nullptr) throw std::bad_alloc();
  }
  ~Connection() {
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  CURLM* multi;
  CURL* easy;
  std::string origin;  ///< of its last transfer
};

/// Borrows a connection, preferably one that is open to `url`, and gives it back.
class HttpClient::Lease {
 public:
  Lease(HttpClient& client, const HttpUrl& url) : client_(client) {
    const std::string origin = cat(url.scheme(), "://", url.host(), ":", url.port());
    {
      const std::lock_guard guard(client.mutex_);
      auto best = client.idle_.end();
      for (auto at = client.idle_.begin(); at != client.idle_.end(); ++at) {
        if (best == client.idle_.end() || (*at)->origin == origin) best = at;
      }
      if (best != client.idle_.end()) {
        connection_ = std::move(*best);
        client.idle_.erase(best);
      }
    }
    if (!connection_) connection_ = std::make_unique<Connection>();
    connection_->origin = origin;
  }
  ~Lease() {
    curl_easy_reset(connection_->easy);  // drops every pointer into the finished request
    const std::lock_guard guard(client_.mutex_);
    if (client_.idle_.size() < kIdleConnections) client_.idle_.push_back(std::move(connection_));
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  Connection& operator*() const noexcept { return *connection_; }

 private:
  HttpClient& client_;
  std::unique_ptr<Connection> connection_;
};

HttpClient::HttpClient(HttpOptions options) : options_(std::move(options)) {
  idle_.reserve(kIdleConnections);
}

HttpClient::~HttpClient() = default;

HttpResponse HttpClient::send(const HttpRequest& request, std::stop_token stop) {
  initialise_curl();
  const HttpUrl first = HttpUrl::parse(request.url);
  HttpUrl url = first;
  bool may_authorize = true;
  for (int hops = 0;; ++hops) {
    const Lease lease(*this, url);
    HttpResponse response =
        HttpHop(options_, request, url, may_authorize).run((*lease).multi, (*lease).easy, stop);
    if (!must_follow(request, response)) return response;
    if (hops == options_.max_redirects) {
      throw RegistryError(cat(first.safe(), ": more than ", options_.max_redirects, " redirects"));
    }
    const HttpUrl next = url.resolve(*response.headers.find("Location"));
    if (url.is_https() && !next.is_https() && !request.allow_downgrade) {
      throw RegistryError(
          cat(url.safe(), " redirects to an unencrypted address (", next.safe(), "); refused"));
    }
    // Once away, a way back does not bring credentials along: a redirect must not be able to aim them.
    may_authorize = may_authorize && next.same_origin(first);
    url = next;
  }
}

std::optional<std::int64_t> parse_http_date(const std::string& text) {
  const time_t time = curl_getdate(text.c_str(), nullptr);
  return time < 0 ? std::nullopt : std::optional<std::int64_t>(time);
}

}  // namespace imgbuild::oci
