#include "builder/ssh_proxy.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "builder/ssh_keys.h"
#include "builder/ssh_wire.h"

namespace imgbuild::builder {

namespace {

constexpr std::size_t kMaxMessage = 256 * 1024;
constexpr std::size_t kMaxConnections = 32;
constexpr char kFailure = 5;                     // SSH_AGENT_FAILURE
constexpr std::uint8_t kRequestIdentities = 11;  // SSH_AGENTC_REQUEST_IDENTITIES
constexpr std::uint8_t kSignRequest = 13;        // SSH_AGENTC_SIGN_REQUEST
constexpr std::uint8_t kExtension = 27;          // SSH_AGENTC_EXTENSION
constexpr std::string_view kSessionBind = "session-bind@openssh.com";

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    throw Error(cat("the agent's socket path is too long: ", printable(path)));
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

std::uint32_t read_length(std::string_view bytes) {
  std::uint32_t length = 0;
  for (std::size_t i = 0; i < 4; ++i) length = (length << 8) | static_cast<unsigned char>(bytes[i]);
  return length;
}

/// Only the extension that binds a connection to a session is known to be harmless.
bool is_session_bind(std::string_view body) {
  if (body.size() < 5) return false;
  const std::uint32_t length = read_length(body.substr(1));
  return body.substr(5, length) == kSessionBind;
}

bool allowed(std::string_view body) {
  const auto type = static_cast<std::uint8_t>(body[0]);
  return type == kExtension ? is_session_bind(body) : ssh_request_allowed(type);
}

/// One client inside the sandbox and its own connection to the agent.
struct Connection {
  UniqueFd client;
  UniqueFd agent;  ///< none where the keys are ours
  const SshKeys* keys = nullptr;
  std::string pending;  // of the client, not yet a whole message

  /// False: close it.
  bool from_client() {
    char buffer[16 * 1024];
    const ssize_t got = ::recv(client.get(), buffer, sizeof buffer, 0);
    if (got <= 0) return false;
    pending.append(buffer, static_cast<std::size_t>(got));
    while (pending.size() >= 4) {
      const std::size_t length = read_length(pending);
      if (length == 0 || length > kMaxMessage) return false;
      if (pending.size() < 4 + length) return true;
      const std::string message = pending.substr(0, 4 + length);
      pending.erase(0, 4 + length);
      if (!pass_on(message)) return false;
    }
    return true;
  }

  bool pass_on(const std::string& message) const {
    const std::string_view body = std::string_view(message).substr(4);
    if (!allowed(body)) return send_all(client.get(), ssh_string({&kFailure, 1}));
    if (keys != nullptr) return send_all(client.get(), ssh_string(keys->answer(body)));
    return send_all(agent.get(), message);
  }

  bool from_agent() {
    char buffer[16 * 1024];
    const ssize_t got = ::recv(agent.get(), buffer, sizeof buffer, 0);
    return got > 0 && send_all(client.get(), std::string_view(buffer, static_cast<std::size_t>(got)));
  }

  static bool send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t put = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (put <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(put));
    }
    return true;
  }
};

/// Nothing when the user's agent does not answer.
UniqueFd connect_to(const std::string& path) {
  if (path.size() >= sizeof(sockaddr_un::sun_path)) return {};
  UniqueFd agent(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = address_of(path);
  const bool connected =
      agent && ::connect(agent.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  return connected ? std::move(agent) : UniqueFd();
}

}  // namespace

bool ssh_request_allowed(std::uint8_t type) noexcept {
  return type == kRequestIdentities || type == kSignRequest;
}

SshProxy::SshProxy(const Options& options)
    : agent_(options.agent), keys_(options.keys), directory_(options.directory.make_work_dir()) {
  listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener_) throw SystemError(errno, "make the agent's socket");
  // The path of a socket is short, the store's need not be: the directory is named by its descriptor.
  const sockaddr_un address = address_of(cat("/proc/self/fd/", directory_.fd(), "/agent"));
  if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener_.get(), static_cast<int>(kMaxConnections)) != 0) {
    throw SystemError(errno, "open the agent's socket");
  }
  if (::fchownat(directory_.fd(), "agent", options.uid, options.gid, AT_SYMLINK_NOFOLLOW) != 0 ||
      ::fchmodat(directory_.fd(), "agent", options.mode, 0) != 0) {
    throw SystemError(errno, "hand over the agent's socket");
  }
  socket_file_ = open_at(directory_.fd(), "agent", O_PATH);
  wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  if (!wake_) throw SystemError(errno, "make an event descriptor");
  thread_ = std::jthread([this](std::stop_token stop) { serve(std::move(stop)); });
}

SshProxy::~SshProxy() {
  thread_.request_stop();
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
  thread_.join();
}

void SshProxy::serve(std::stop_token stop) {
  std::vector<Connection> connections;
  while (!stop.stop_requested()) {
    std::vector<pollfd> waits = {{wake_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    for (const auto& connection : connections) {
      waits.push_back({connection.client.get(), POLLIN, 0});
      waits.push_back({connection.agent.get(), POLLIN, 0});
    }
    if (::poll(waits.data(), waits.size(), -1) < 0) continue;
    for (std::size_t i = connections.size(); i-- > 0;) {
      bool alive = true;
      if (waits[2 + 2 * i].revents != 0) alive = connections[i].from_client();
      if (alive && waits[3 + 2 * i].revents != 0) alive = connections[i].from_agent();
      if (!alive) connections.erase(connections.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if ((waits[1].revents & POLLIN) == 0) continue;
    UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client || connections.size() >= kMaxConnections) continue;
    UniqueFd agent = keys_ ? UniqueFd() : connect_to(agent_);
    if (!keys_ && !agent) continue;
    connections.push_back({std::move(client), std::move(agent), keys_.get(), {}});
  }
}

}  // namespace imgbuild::builder
