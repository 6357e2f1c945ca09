#include <algorithm>
#include <condition_variable>
#include <random>

#include "base/strings.h"
#include "oci/json_reader.h"
#include "oci/registry.h"

namespace imgbuild::oci {

namespace {

using std::chrono::milliseconds;

constexpr int kAuthRounds = 3;  // LIM: auth round trips per request

void sleep_for(milliseconds delay, std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_for(lock, stop, delay, [] { return false; });
  if (stop.stop_requested()) throw Cancelled();
}

/// ±20 %, so that clients that failed together do not come back together.
milliseconds with_jitter(milliseconds delay) {
  thread_local std::minstd_rand random(std::random_device{}());
  return delay * std::uniform_int_distribution<int>(80, 120)(random) / 100;
}

/// Seconds, or an HTTP date that is compared with the server's own clock.
std::optional<milliseconds> retry_after(const HttpResponse& response) {
  const auto text = response.headers.find("Retry-After");
  if (!text) return std::nullopt;
  if (const auto delay = parse_decimal(*text))
    return std::chrono::seconds(std::min<std::uint64_t>(*delay, 3600));
  const auto until = parse_http_date(*text);
  const auto now = parse_http_date(response.headers.find("Date").value_or(""));
  if (!until || !now) return std::nullopt;
  return std::chrono::seconds(std::clamp<std::int64_t>(*until - *now, 0, 3600));
}

bool is_temporary(int status) {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

std::string network_host(const std::string& registry) {
  return registry == "docker.io" ? "registry-1.docker.io" : registry;  // REG-6
}

/// A part of server text that is fit for one line of a message.
std::string excerpt(std::string_view text) {
  text = trim(text);
  const bool cut = text.size() > 300;
  return cat(printable(text.substr(0, 300)), cut ? "…" : "");
}

std::string first_error(const std::string& body) {
  try {
    const JsonValue json = JsonValue::parse(body, "error answer");
    const JsonValue* errors = json.find("errors");
    if (errors != nullptr && !errors->as_array().empty()) {
      const JsonValue& first = errors->as_array().front();
      return excerpt(cat(first.string_or_empty("code"), ": ", first.string_or_empty("message")));
    }
  } catch (const IntegrityError&) {
    return excerpt(body);  // plain text or a page: as good as it gets
  }
  return excerpt(body);
}

}  // namespace

Registry::Registry(HttpClient& http, RegistryOptions options)
    : http_(http), options_(std::move(options)), auth_(http, options_.auth) {
  if (!options_.sleep) options_.sleep = sleep_for;
}

RegistryStatusError Registry::status_error(const std::string& what, const HttpResponse& response) {
  const std::string detail = first_error(response.body);
  RegistryStatusError error(cat(what, ": status ", response.status, detail.empty() ? "" : ", ", detail),
                            response.status);
  const auto limit = response.headers.find("RateLimit-Limit");
  if (response.status == 429 && limit) error.add_note(cat("the registry allows ", excerpt(*limit)));
  return error;
}

void Registry::wait_before_retry(int attempt, const HttpResponse* response, std::stop_token stop) {
  milliseconds delay = options_.first_delay * (1 << std::min(attempt, 10));
  if (const auto told = response != nullptr ? retry_after(*response) : std::nullopt) {
    delay = *told;
  } else {
    delay = with_jitter(delay);
  }
  options_.sleep(std::min(delay, options_.longest_delay), stop);
}

bool Registry::is_insecure(const std::string& host) const {
  const auto listed = [&](const std::string& name) { return options_.insecure_hosts.contains(name); };
  return listed(host) || (!host.ends_with(']') && listed(host.substr(0, host.rfind(':'))));
}

std::vector<Registry::Endpoint> Registry::endpoints(const Reference& name,
                                                    const RegistryRequest& request) const {
  std::vector<Endpoint> all;
  const auto mirrors = options_.mirrors.find(name.registry());
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (reads && mirrors != options_.mirrors.end()) {
    for (const std::string& host : mirrors->second) all.push_back({host, true});
  }
  all.push_back({network_host(name.registry()), false});
  return all;
}

HttpResponse Registry::call(const Reference& name, const RegistryRequest& request, std::stop_token stop) {
  std::vector<std::string> failures;
  for (const Endpoint& endpoint : endpoints(name, request)) {
    if (!endpoint.is_mirror) {
      try {
        return call_endpoint(endpoint, name, request, stop);
      } catch (Error& error) {
        for (const std::string& failure : failures) error.add_note(failure);
        throw;
      }
    }
    try {
      RegistryRequest attempt = request;
      // A mirror's failure must not reach the caller's sink: only its success does.
      attempt.sink_for = [&](const HttpResponse& response) -> Sink* {
        return request.sink_for && response.status < 300 ? request.sink_for(response) : nullptr;
      };
      HttpResponse response = call_endpoint(endpoint, name, attempt, stop);
      if (response.status < 300) return response;
      failures.push_back(status_error(cat("mirror ", endpoint.host), response).message());
    } catch (const RegistryError& error) {
      failures.push_back(cat("mirror ", endpoint.host, ": ", error.message()));
    }
  }
  throw RegistryError(cat("no endpoint for ", name.registry()));
}

HttpResponse Registry::call_endpoint(const Endpoint& endpoint, const Reference& name,
                                     const RegistryRequest& request, std::stop_token stop) {
  const std::string& host = endpoint.host;
  if (!is_insecure(host)) {
    return call_with_retries(endpoint, cat(is_loopback_host(host) ? "http://" : "https://", host), name,
                             request, stop);
  }
  std::string scheme;
  {
    const std::lock_guard guard(mutex_);
    if (const auto known = schemes_.find(host); known != schemes_.end()) scheme = known->second;
  }
  const auto remember = [&](const char* works) {
    const std::lock_guard guard(mutex_);
    schemes_[host] = works;
  };
  if (!scheme.empty()) return call_with_retries(endpoint, cat(scheme, host), name, request, stop);
  try {
    // The first contact only finds out which scheme is spoken.
    HttpRequest ping{.url = cat("https://", host, "/v2/")};
    ping.verify_tls = false;
    ping.allow_downgrade = true;
    (void)http_.send(ping, stop);
    remember("https://");
    return call_with_retries(endpoint, cat("https://", host), name, request, stop);
  } catch (const TransferError&) {
    remember("http://");
  }
  return call_with_retries(endpoint, cat("http://", host), name, request, stop);
}

HttpResponse Registry::call_with_retries(const Endpoint& endpoint, const std::string& base,
                                         const Reference& name, const RegistryRequest& request,
                                         std::stop_token stop) {
  for (int attempt = 0;; ++attempt) {
    const bool last = attempt + 1 >= options_.max_attempts;
    try {
      HttpResponse response = call_authorized(endpoint, base, name, request, stop);
      if (!is_temporary(response.status) || last) return response;
      wait_before_retry(attempt, &response, stop);
    } catch (const TransferError&) {
      if (last || !request.retry) throw;
      wait_before_retry(attempt, nullptr, stop);
    }
  }
}

HttpResponse Registry::call_authorized(const Endpoint& endpoint, const std::string& base,
                                       const Reference& name, const RegistryRequest& request,
                                       std::stop_token stop) {
  const std::string account = endpoint.is_mirror ? endpoint.host : name.registry();  // REG-32
  const std::string scope = cat("repository:", name.repository(), ":", request.actions);
  const bool insecure = is_insecure(endpoint.host) || is_loopback_host(endpoint.host);
  HttpRequest http{.method = request.method,
                   .url = cat(base, "/v2/", name.repository(), "/", request.path),
                   .headers = request.headers,
                   .authorization = auth_.known(account, scope),
                   .body = request.body,
                   .body_size = request.body_size};
  http.body_limit = request.body_limit;
  http.verify_tls = !is_insecure(endpoint.host);
  http.allow_downgrade = is_insecure(endpoint.host);
  http.sink_for = [&](const HttpResponse& response) -> Sink* {
    const bool final = response.status != 401 && !is_temporary(response.status);
    return final && request.sink_for ? request.sink_for(response) : nullptr;
  };
  for (int round = 0;; ++round) {
    HttpResponse response = http_.send(http, stop);
    const HttpUrl answered = HttpUrl::parse(response.url);
    const HttpUrl asked = HttpUrl::parse(http.url);
    // A challenge from where we were redirected to is none of the registry's (REG-12).
    if (response.status != 401 || !answered.same_origin(asked)) return response;
    if (round + 1 >= kAuthRounds) {
      throw RegistryStatusError(cat(name.familiar(), ": access denied, or there is no such repository"), 401);
    }
    const AuthTarget target{.registry = account,
                            .url = asked,
                            .scope = scope,
                            .insecure = insecure,
                            .peer_address = response.peer_address};
    http.authorization =
        auth_.answer(target, response.headers.all("WWW-Authenticate"), http.authorization, stop);
  }
}

}  // namespace imgbuild::oci
