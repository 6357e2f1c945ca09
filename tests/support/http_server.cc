#include "tests/support/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::tests {

namespace {

bool wait_readable(int fd, int stopping) {
  pollfd set[2] = {{fd, POLLIN, 0}, {stopping, POLLIN, 0}};
  while (::poll(set, 2, -1) < 0 && errno == EINTR) {
  }
  return set[1].revents == 0;
}

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

/// Reads requests from one connection.
class RequestReader {
 public:
  RequestReader(int fd, int stopping) : fd_(fd), stopping_(stopping) {}

  std::optional<ServerRequest> next() {
    std::size_t end = 0;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
      if (!fill()) return std::nullopt;
    }
    ServerRequest request;
    const std::string head = buffer_.substr(0, end);
    buffer_.erase(0, end + 4);
    const auto lines = split(head, '\n');
    const auto words = split(trim(lines.front()), ' ');
    if (words.size() < 2) return std::nullopt;
    request.method = words[0];
    request.path = words[1].substr(0, words[1].find('?'));
    if (request.path.size() < words[1].size()) request.query = words[1].substr(request.path.size() + 1);
    for (std::size_t i = 1; i < lines.size(); ++i) {
      const auto colon = lines[i].find(':');
      if (colon != std::string_view::npos) {
        request.headers[to_lower(lines[i].substr(0, colon))] = trim(lines[i].substr(colon + 1));
      }
    }
    const std::uint64_t length = parse_decimal(request.header("content-length")).value_or(0);
    while (buffer_.size() < length) {
      if (!fill()) return std::nullopt;
    }
    request.body = buffer_.substr(0, length);
    buffer_.erase(0, length);
    return request;
  }

 private:
  bool fill() {
    if (!wait_readable(fd_, stopping_)) return false;
    char chunk[16384];
    const ssize_t got = ::recv(fd_, chunk, sizeof chunk, 0);
    if (got <= 0) return false;
    buffer_.append(chunk, static_cast<std::size_t>(got));
    return true;
  }

  int fd_;
  int stopping_;
  std::string buffer_;
};

}  // namespace

HttpServer::HttpServer(Handler handler)
    : handler_(std::move(handler)),
      listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      stopping_(::eventfd(0, EFD_CLOEXEC)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (!listener_ || !stopping_ || ::bind(listener_.get(), raw, sizeof address) != 0 ||
      ::listen(listener_.get(), 64) != 0 || ::getsockname(listener_.get(), raw, &size) != 0) {
    throw SystemError(errno, "listen", "loopback port of the test server");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::jthread([this] { accept_all(); });
}

HttpServer::~HttpServer() {
  const std::uint64_t one = 1;
  (void)!::write(stopping_.get(), &one, sizeof one);
  acceptor_.join();
  workers_.clear();
}

void HttpServer::accept_all() {
  while (wait_readable(listener_.get(), stopping_.get())) {
    const int connection = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    {
      const std::lock_guard guard(mutex_);
      ++connections_;
    }
    workers_.emplace_back([this, connection] { serve(connection); });
  }
}

void HttpServer::serve(int raw) {
  const UniqueFd connection(raw);
  RequestReader reader(connection.get(), stopping_.get());
  while (auto request = reader.next()) {
    {
      const std::lock_guard guard(mutex_);
      requests_.push_back(*request);
    }
    if (!send_reply(connection.get(), *request, handler_(*request))) return;
  }
}

bool HttpServer::send_reply(int connection, const ServerRequest& request, const ServerReply& reply) {
  std::string head = cat("HTTP/1.1 ", reply.status, " Scripted\r\n");
  for (const auto& [name, value] : reply.headers) head += cat(name, ": ", value, "\r\n");
  const bool ends = reply.without_length || reply.cut_at || reply.reset || reply.stall;
  if (!reply.without_length)
    head += cat("Content-Length: ", reply.claimed_length.value_or(reply.body.size()), "\r\n");
  if (ends) head += "Connection: close\r\n";
  head += "\r\n";
  const std::string_view body =
      std::string_view(reply.body).substr(0, reply.cut_at.value_or(reply.body.size()));
  const bool sent = send_all(connection, head) && (request.method == "HEAD" || send_all(connection, body));
  if (reply.stall) {
    pollfd wait{stopping_.get(), POLLIN, 0};
    ::poll(&wait, 1, -1);
  }
  if (reply.reset) {
    const linger at_once{1, 0};
    ::setsockopt(connection, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
  return sent && !ends && !reply.claimed_length;
}

std::vector<ServerRequest> HttpServer::requests() const {
  const std::lock_guard guard(mutex_);
  return requests_;
}

std::vector<std::string> HttpServer::lines() const {
  std::vector<std::string> out;
  for (const auto& request : requests()) out.push_back(cat(request.method, " ", request.path));
  return out;
}

std::size_t HttpServer::connections() const {
  const std::lock_guard guard(mutex_);
  return connections_;
}

void HttpServer::forget_requests() {
  const std::lock_guard guard(mutex_);
  requests_.clear();
}

}  // namespace imgbuild::tests
