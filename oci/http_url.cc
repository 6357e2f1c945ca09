#include "oci/http_url.h"

#include <curl/curl.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/strings.h"
#include "oci/lazy_curl.h"
#include "oci/net_address.h"

namespace imgbuild::oci {

namespace {

struct CloseUrl {
  void operator()(CURLU* handle) const noexcept { curl_url_cleanup(handle); }
};
using UrlHandle = std::unique_ptr<CURLU, CloseUrl>;

/// For messages about a URL that could not be read: userinfo and query may be secrets.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, text.find_first_of("?#")));
  const auto scheme = out.find("://");
  const auto at = out.find('@');
  if (at != std::string::npos && scheme != std::string::npos && at > scheme) {
    out.replace(scheme + 3, at - scheme - 3, "…");
  }
  return printable(out.substr(0, 256));
}

void set_url(CURLU* handle, std::string_view text) {
  const bool clean = std::none_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) == 0x7f;
  });
  if (!clean || text.size() > 16 * 1024) throw RegistryError(cat("not a usable URL: ", shown(text)));
  const std::string copy(text);
  const auto result = curl_url_set(handle, CURLUPART_URL, copy.c_str(), 0);
  if (result == CURLUE_UNSUPPORTED_SCHEME)
    throw RegistryError(cat("only http and https can be fetched: ", shown(text)));
  if (result != CURLUE_OK) throw RegistryError(cat("not a usable URL: ", shown(text)));
}

std::string part(CURLU* handle, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(handle, which, &text, flags) != CURLUE_OK) return {};
  const std::string out(text);
  curl_free(text);
  return out;
}

/// The library decodes percent signs in a host; what comes out must still be a name or an address, with
/// nothing that ends a line of a header or means something else to the next reader. Bytes above 0x7f: an
/// internationalised name.
bool is_host(std::string_view host) {
  return std::all_of(host.begin(), host.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x80 || (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || c == '-' ||
           c == '.' || c == '_' || c == ':';
  });
}

UrlHandle new_handle() {
  require_curl();
  return UrlHandle(curl_url());
}

}  // namespace

HttpUrl HttpUrl::from_handle(void* raw) {
  CURLU* handle = static_cast<CURLU*>(raw);
  HttpUrl url;
  url.scheme_ = to_lower(part(handle, CURLUPART_SCHEME));
  url.host_ = to_lower(part(handle, CURLUPART_HOST));
  (void)curl_url_set(handle, CURLUPART_HOST, url.host_.c_str(), 0);
  if (url.host_.starts_with('[') && url.host_.ends_with(']'))
    url.host_ = url.host_.substr(1, url.host_.size() - 2);
  url.port_ = part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT);
  url.path_ = part(handle, CURLUPART_PATH);
  url.query_ = part(handle, CURLUPART_QUERY);
  (void)curl_url_set(handle, CURLUPART_FRAGMENT, nullptr, 0);
  url.text_ = part(handle, CURLUPART_URL);
  if (url.scheme_ != "http" && url.scheme_ != "https") {
    throw RegistryError(cat("only http and https can be fetched: ", shown(url.text_)));
  }
  if (!part(handle, CURLUPART_USER).empty() || !part(handle, CURLUPART_PASSWORD).empty()) {
    throw RegistryError(cat("a URL must not contain a user name or password: ", shown(url.text_)));
  }
  if (url.host_.empty() || url.text_.empty()) throw RegistryError("a URL has no host");
  if (!is_host(url.host_))
    throw RegistryError(cat("not the name of a host: \"", printable(url.host_.substr(0, 256)), "\""));
  return url;
}

HttpUrl HttpUrl::parse(std::string_view text) {
  const UrlHandle handle = new_handle();
  set_url(handle.get(), text);
  return from_handle(handle.get());
}

HttpUrl HttpUrl::resolve(std::string_view location) const {
  const UrlHandle handle = new_handle();
  set_url(handle.get(), text_);
  set_url(handle.get(), location);
  return from_handle(handle.get());
}

HttpUrl HttpUrl::with_path_and_query(std::string_view path, std::string_view query) const {
  const UrlHandle handle = new_handle();
  const std::string host = host_.find(':') == std::string::npos ? host_ : cat("[", host_, "]");
  set_url(handle.get(), cat(scheme_, "://", host, ":", port_, path, query.empty() ? "" : "?", query));
  return from_handle(handle.get());
}

std::string HttpUrl::safe() const {
  return cat(printable(text_.substr(0, text_.find('?'))), query_.empty() ? "" : "?…");
}

bool HttpUrl::same_origin(const HttpUrl& other) const noexcept {
  return scheme_ == other.scheme_ && host_ == other.host_ && port_ == other.port_;
}

bool is_loopback_host(std::string_view host_and_port) {
  std::string host = to_lower(host_and_port);
  if (host.starts_with('[')) {
    host = host.substr(1, host.find(']') - 1);
  } else if (std::count(host.begin(), host.end(), ':') == 1) {
    host = host.substr(0, host.find(':'));
  }
  return host == "localhost" || address_scope(host) == AddressScope::loopback;
}

}  // namespace imgbuild::oci
