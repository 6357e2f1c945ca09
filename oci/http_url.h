#pragma once

#include <string>
#include <string_view>

namespace imgbuild::oci {

/// Whether `text` begins like an http or https URL, valid or not.
inline bool is_http(std::string_view text) noexcept {
  return text.starts_with("http://") || text.starts_with("https://");
}

/// An absolute http or https URL, normalised. No userinfo, no fragment.
class HttpUrl {
 public:
  /// Throws RegistryError for other schemes, userinfo, control characters or anything that is no URL (NET-7,
  /// NET-20).
  static HttpUrl parse(std::string_view text);
  /// What a Location header means when it came from this URL: absolute, without scheme, or relative.
  HttpUrl resolve(std::string_view location) const;
  HttpUrl with_path_and_query(std::string_view path, std::string_view query) const;

  const std::string& scheme() const noexcept { return scheme_; }
  const std::string& host() const noexcept { return host_; }  ///< lowercase, IPv6 without brackets
  const std::string& port() const noexcept { return port_; }  ///< decimal, the default one filled in
  const std::string& path() const noexcept { return path_; }  ///< still percent-encoded, starts with '/'
  const std::string& str() const noexcept { return text_; }
  /// For messages: query values may be signatures, so they are left out (REG-14).
  std::string safe() const;
  bool is_https() const noexcept { return scheme_ == "https"; }
  /// Scheme, host and port agree: credentials may stay (NET-7).
  bool same_origin(const HttpUrl& other) const noexcept;

 private:
  HttpUrl() = default;
  static HttpUrl from_handle(void* handle);
  std::string scheme_, host_, port_, path_, query_, text_;
};

/// `localhost`, 127.0.0.0/8, ::1, alone or with a port (`[::1]:5000`) (REG-34).
bool is_loopback_host(std::string_view host_and_port);

}  // namespace imgbuild::oci
