#include "oci/http_hop.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "base/strings.h"
#include "oci/net_address.h"

namespace imgbuild::oci {

namespace {

constexpr std::size_t kHeaderBlockLimit = 64 * 1024;  // NET-11
constexpr std::size_t kErrorBodyLimit = 64 * 1024;

template <typename Value>
void set(CURL* easy, CURLoption option, Value value) {
  const CURLcode code = curl_easy_setopt(easy, option, value);
  if (code != CURLE_OK) throw RegistryError(cat("HTTP client: ", curl_easy_strerror(code)));
}

/// Takes an easy handle out of its multi handle again; that closes the connection of an unfinished transfer.
class Attached {
 public:
  Attached(CURLM* multi, CURL* easy) : multi_(multi), easy_(easy) {
    if (curl_multi_add_handle(multi, easy) != CURLM_OK)
      throw RegistryError("HTTP client: cannot start a transfer");
  }
  ~Attached() { curl_multi_remove_handle(multi_, easy_); }
  Attached(const Attached&) = delete;
  Attached& operator=(const Attached&) = delete;

 private:
  CURLM* multi_;
  CURL* easy_;
};

bool has_line_break(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

/// Failures that another attempt cannot mend.
bool is_final(CURLcode code) {
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_COULDNT_RESOLVE_HOST:  // no network, or a wrong name: waiting would only hide it
    case CURLE_OUT_OF_MEMORY:
      return true;
    default:
      return false;
  }
}

}  // namespace

HttpHop::HttpHop(const HttpOptions& options, const HttpRequest& request, const HttpUrl& url,
                 bool send_authorization)
    : options_(options), request_(request), url_(url), send_authorization_(send_authorization) {
  response_.url = url.str();
}

HttpResponse HttpHop::run(CURLM* multi, CURL* easy, std::stop_token stop) {
  configure(easy);
  drive(multi, easy, stop);
  char* peer = nullptr;
  if (curl_easy_getinfo(easy, CURLINFO_PRIMARY_IP, &peer) == CURLE_OK && peer != nullptr)
    response_.peer_address = peer;
  if (!sink_chosen_) choose_sink();
  return std::move(response_);
}

void HttpHop::configure(CURL* easy) {
  set(easy, CURLOPT_URL, url_.str().c_str());
  set(easy, CURLOPT_ERRORBUFFER, error_text_);
  set(easy, CURLOPT_NOSIGNAL, 1L);
  set(easy, CURLOPT_FOLLOWLOCATION, 0L);
  set(easy, CURLOPT_USERAGENT, options_.user_agent.c_str());
  // Only a wish: curl refuses it on a handle whose last transfer failed before it began.
  (void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, static_cast<long>(kChunkSize));
  set(easy, CURLOPT_HEADERFUNCTION, &HttpHop::header_callback);
  set(easy, CURLOPT_HEADERDATA, this);
  set(easy, CURLOPT_WRITEFUNCTION, &HttpHop::write_callback);
  set(easy, CURLOPT_WRITEDATA, this);
  set(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_timeout.count()));
  set(easy, CURLOPT_LOW_SPEED_LIMIT, options_.min_bytes_per_second);
  set(easy, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options_.idle_timeout.count()));
  set(easy, CURLOPT_TIMEOUT, static_cast<long>(request_.total_timeout.count()));
  set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  configure_security(easy);
  configure_proxy(easy);
  configure_body(easy);
  configure_headers(easy);
}

void HttpHop::configure_security(CURL* easy) {
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  set(easy, CURLOPT_SSL_VERIFYPEER, request_.verify_tls ? 1L : 0L);
  set(easy, CURLOPT_SSL_VERIFYHOST, request_.verify_tls ? 2L : 0L);
  if (!options_.ca_pem.empty()) {
    const curl_blob blob{const_cast<char*>(options_.ca_pem.data()), options_.ca_pem.size(), CURL_BLOB_NOCOPY};
    set(easy, CURLOPT_CAINFO_BLOB, &blob);
  } else if (!options_.ca_file.empty())
    set(easy, CURLOPT_CAINFO, options_.ca_file.c_str());
  if (!options_.ca_directory.empty()) set(easy, CURLOPT_CAPATH, options_.ca_directory.c_str());
  if (request_.global_addresses_only) {
    set(easy, CURLOPT_OPENSOCKETFUNCTION, &HttpHop::socket_callback);
    set(easy, CURLOPT_OPENSOCKETDATA, this);
    set(easy, CURLOPT_FRESH_CONNECT, 1L);  // a connection made without the check must not serve here
  }
}

void HttpHop::configure_proxy(CURL* easy) {
  const std::string& proxy = url_.is_https() ? options_.https_proxy : options_.http_proxy;
  set(easy, CURLOPT_PROXY, proxy.c_str());  // empty: none, and the environment is not asked
  set(easy, CURLOPT_NOPROXY, options_.no_proxy.c_str());
}

void HttpHop::configure_body(CURL* easy) {
  if (request_.method == "HEAD") {
    set(easy, CURLOPT_NOBODY, 1L);
  } else if (request_.body) {
    body_ = request_.body();
    set(easy, CURLOPT_UPLOAD, 1L);
    set(easy, CURLOPT_READFUNCTION, &HttpHop::read_callback);
    set(easy, CURLOPT_READDATA, this);
    set(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request_.body_size));
    set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));  // REG-7
    set(easy, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
  } else if (request_.method == "GET") {
    set(easy, CURLOPT_HTTPGET, 1L);
  } else {
    set(easy, CURLOPT_POST, 1L);
    set(easy, CURLOPT_POSTFIELDSIZE, 0L);
    set(easy, CURLOPT_POSTFIELDS, "");
    set(easy, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
  }
}

void HttpHop::configure_headers(CURL* easy) {
  const auto add = [this](const std::string& line) {
    if (has_line_break(line)) throw RegistryError("a header of a request contains a line break");
    curl_slist* longer = curl_slist_append(header_list_.get(), line.c_str());
    if (longer == nullptr) throw std::bad_alloc();
    (void)header_list_.release();
    header_list_.reset(longer);
  };
  for (const auto& [name, value] : request_.headers.list()) add(cat(name, ": ", value));
  if (send_authorization_ && !request_.authorization.empty())
    add(cat("Authorization: ", request_.authorization));
  add("Expect:");
  add("Accept-Encoding: identity");
  // Our header stands instead of curl's own; the option only makes it undo an encoding that was applied all
  // the same.
  if (request_.decode_content) set(easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
  set(easy, CURLOPT_HTTPHEADER, header_list_.get());
}

void HttpHop::drive(CURLM* multi, CURL* easy, std::stop_token stop) {
  const Attached attached(multi, easy);
  const std::stop_callback wake(stop, [multi] { curl_multi_wakeup(multi); });
  int running = 1;
  while (running > 0) {
    if (stop.stop_requested()) throw Cancelled();
    if (curl_multi_perform(multi, &running) != CURLM_OK) throw RegistryError("HTTP client: transfer failed");
    if (running > 0) curl_multi_poll(multi, nullptr, 0, 1000, nullptr);
  }
  guard_.rethrow();
  int left = 0;
  for (const CURLMsg* message = curl_multi_info_read(multi, &left); message != nullptr;
       message = curl_multi_info_read(multi, &left)) {
    if (message->msg == CURLMSG_DONE && message->data.result != CURLE_OK && !cut_)
      fail(message->easy_handle, message->data.result);
  }
}

void HttpHop::fail(CURL* easy, CURLcode code) {
  const std::string detail = error_text_[0] != '\0' ? error_text_ : curl_easy_strerror(code);
  const std::string text = cat(request_.method, " ", url_.safe(), ": ", printable(detail));
  long proxy_said = 0;  // 407 and the like will be said again
  const bool refused = curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &proxy_said) == CURLE_OK &&
                       proxy_said >= 400 && proxy_said < 500;
  if (refused || is_final(code)) throw RegistryError(text);
  throw TransferError(text);
}

bool HttpHop::is_redirect() const {
  const int status = response_.status;
  const bool moves = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
  return moves && request_.follow_redirects && response_.headers.find("Location").has_value();
}

void HttpHop::on_header(std::string_view line) {
  header_bytes_ += line.size();
  if (header_bytes_ > kHeaderBlockLimit)
    throw RegistryError(cat(url_.safe(), ": the answer's headers are too long"));
  line = trim(line);
  if (line.starts_with("HTTP/")) {  // a new block: what came before was an interim answer
    response_.headers.clear();
    const auto blank = line.find(' ');
    const std::string_view digits = blank == std::string_view::npos ? "" : line.substr(blank + 1, 3);
    response_.status = static_cast<int>(parse_decimal(digits).value_or(0));
    return;
  }
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return;
  response_.headers.add(std::string(line.substr(0, colon)), std::string(trim(line.substr(colon + 1))));
}

void HttpHop::choose_sink() {
  sink_chosen_ = true;
  if (!is_redirect() && request_.sink_for) sink_ = request_.sink_for(response_);
}

bool HttpHop::on_body(std::string_view bytes) {
  if (!sink_chosen_) choose_sink();
  const bool failure = sink_ == nullptr && (response_.status >= 300 || is_redirect());
  if (failure) {
    const std::size_t room = kErrorBodyLimit - response_.body.size();
    response_.body += bytes.substr(0, room);
    cut_ = bytes.size() > room;
    return !cut_;
  }
  received_ += bytes.size();
  if (received_ > request_.body_limit) {
    throw RegistryError(cat(url_.safe(), ": the answer is longer than ", request_.body_limit, " bytes"));
  }
  if (sink_ != nullptr) {
    sink_->write(bytes);
  } else {
    response_.body += bytes;
  }
  return true;
}

std::size_t HttpHop::header_callback(char* data, std::size_t size, std::size_t count, void* self) noexcept {
  HttpHop& hop = *static_cast<HttpHop*>(self);
  const std::size_t bytes = size * count;
  return hop.guard_.run<std::size_t>(0, [&] { return hop.on_header({data, bytes}), bytes; });
}

std::size_t HttpHop::write_callback(char* data, std::size_t size, std::size_t count, void* self) noexcept {
  HttpHop& hop = *static_cast<HttpHop*>(self);
  const std::size_t bytes = size * count;
  return hop.guard_.run<std::size_t>(bytes + 1, [&] {
    return hop.on_body({data, bytes}) ? bytes : bytes + 1;
  });
}

std::size_t HttpHop::read_callback(char* data, std::size_t size, std::size_t count, void* self) noexcept {
  HttpHop& hop = *static_cast<HttpHop*>(self);
  return hop.guard_.run<std::size_t>(CURL_READFUNC_ABORT, [&] {
    return hop.body_->read({data, size * count});
  });
}

curl_socket_t HttpHop::socket_callback(void* self, curlsocktype, curl_sockaddr* address) noexcept {
  HttpHop& hop = *static_cast<HttpHop*>(self);
  return hop.guard_.run<curl_socket_t>(CURL_SOCKET_BAD, [&]() -> curl_socket_t {
    if (address_scope(address->addr) != AddressScope::global) {
      throw RegistryError(
          cat(hop.url_.safe(), " leads to an address that is not public; it may not be used here"));
    }
    return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  });
}

}  // namespace imgbuild::oci
