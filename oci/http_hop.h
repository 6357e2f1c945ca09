#pragma once

#include <curl/curl.h>

#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "oci/callback_guard.h"
#include "oci/http.h"

namespace imgbuild::oci {

/// One request and its answer on one URL: fills a curl handle, runs it, keeps what came back.
class HttpHop {
 public:
  /// Everything is borrowed. `send_authorization`: whether credentials may go to `url`.
  HttpHop(const HttpOptions& options, const HttpRequest& request, const HttpUrl& url,
          bool send_authorization);

  /// Returns the answer; `multi` and `easy` are reset by the caller. Throws as HttpClient::send.
  HttpResponse run(CURLM* multi, CURL* easy, std::stop_token stop);

 private:
  struct FreeList {
    void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
  };

  void configure(CURL* easy);
  void configure_security(CURL* easy);
  void configure_proxy(CURL* easy);
  void configure_body(CURL* easy);
  void configure_headers(CURL* easy);
  void drive(CURLM* multi, CURL* easy, std::stop_token stop);
  [[noreturn]] void fail(CURL* easy, CURLcode code);

  void on_header(std::string_view line);
  bool on_body(std::string_view bytes);
  void choose_sink();
  bool is_redirect() const;

  static std::size_t header_callback(char* data, std::size_t size, std::size_t count, void* self) noexcept;
  static std::size_t write_callback(char* data, std::size_t size, std::size_t count, void* self) noexcept;
  static std::size_t read_callback(char* data, std::size_t size, std::size_t count, void* self) noexcept;
  static curl_socket_t socket_callback(void* self, curlsocktype purpose, curl_sockaddr* address) noexcept;

  const HttpOptions& options_;
  const HttpRequest& request_;
  const HttpUrl& url_;
  const bool send_authorization_;

  HttpResponse response_;
  CallbackGuard guard_;
  std::unique_ptr<curl_slist, FreeList> header_list_;
  std::unique_ptr<Source> body_;
  Sink* sink_ = nullptr;
  bool sink_chosen_ = false;
  bool cut_ = false;  ///< enough of a failure's body was read
  std::size_t header_bytes_ = 0;
  std::uint64_t received_ = 0;
  char error_text_[CURL_ERROR_SIZE] = {};
};

}  // namespace imgbuild::oci
