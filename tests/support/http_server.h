#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.h"

namespace imgbuild::tests {

struct ServerRequest {
  std::string method;
  std::string path;  ///< without query
  std::string query;
  std::map<std::string, std::string> headers;  ///< names in lowercase
  std::string body;
  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string() : found->second;
  }
};

/// An answer, and what goes wrong with it.
struct ServerReply {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::optional<std::uint64_t> claimed_length;  ///< Content-Length instead of the real one
  bool without_length = false;        ///< no Content-Length: the end of the connection ends the body
  std::optional<std::size_t> cut_at;  ///< so many bytes of the body, then the connection ends
  bool reset = false;                 ///< the connection ends by RST instead of FIN
  bool stall = false;                 ///< after what was sent, waits until the server is stopped
};

/// HTTP/1.1 on a free loopback port, scripted by a function that is called from several threads at once.
class HttpServer {
 public:
  using Handler = std::function<ServerReply(const ServerRequest&)>;
  explicit HttpServer(Handler handler);
  /// Ends every connection, stalled ones too.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::string host() const { return "127.0.0.1:" + std::to_string(port_); }
  std::string url() const { return "http://" + host(); }
  int port() const noexcept { return port_; }

  std::vector<ServerRequest> requests() const;
  /// "GET /path" of each request, in order.
  std::vector<std::string> lines() const;
  std::size_t connections() const;
  void forget_requests();

 private:
  void accept_all();
  void serve(int connection);
  bool send_reply(int connection, const ServerRequest& request, const ServerReply& reply);

  Handler handler_;
  UniqueFd listener_;
  UniqueFd stopping_;  ///< an eventfd: readable once the server stops
  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<ServerRequest> requests_;
  std::size_t connections_ = 0;
  std::vector<std::jthread> workers_;
  std::jthread acceptor_;
};

}  // namespace imgbuild::tests
