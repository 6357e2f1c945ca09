#pragma once

#include <sys/types.h>

#include <optional>
#include <stop_token>
#include <string>

#include "base/pidfd.h"
#include "base/unique_fd.h"

namespace imgbuild::builder {

/// The program that connects a private network namespace with the world, without privileges of its own.
enum class NetworkProgram { pasta, slirp4netns };

/// Where a program is: looked for in the system's directories only, never along PATH (SBX-1).
std::optional<std::string> find_network_program(NetworkProgram program);

/// A network namespace for one step, connected by pasta or slirp4netns. The program runs in a pid namespace
/// whose first process is a guard of ours: when this object goes, or the builder dies, the kernel ends it.
class PrivateNetwork {
 public:
  /// Returns when the network is up. `reach_host`: the builder's own loopback services answer at the gateway
  /// address; without it they cannot be reached. Throws Error with what the program said, SystemError,
  /// Cancelled.
  PrivateNetwork(NetworkProgram program, const std::string& path, bool reach_host, std::stop_token stop);
  ~PrivateNetwork();
  PrivateNetwork(const PrivateNetwork&) = delete;
  PrivateNetwork& operator=(const PrivateNetwork&) = delete;

  int namespace_fd() const noexcept { return namespace_.get(); }
  /// The address at which the program answers DNS queries.
  std::string name_server() const;

 private:
  void start(const std::string& path, bool reach_host);
  void wait_until_ready(std::stop_token stop);
  void end() noexcept;

  NetworkProgram program_;
  UniqueFd namespace_;
  UniqueFd ready_, errors_;
  Pidfd guard_;
  pid_t guard_pid_ = -1;
};

/// A descriptor of the network namespace at `path` (such as /run/netns/NAME). Throws Error when it is none.
UniqueFd open_network_namespace(const std::string& path);

/// The IPv4 address of the default gateway inside a network namespace; nothing when there is none. Throws
/// SystemError when the namespace cannot be entered.
std::optional<std::string> default_gateway(int namespace_fd);

/// The same from the text of /proc/net/route.
std::optional<std::string> parse_default_gateway(const std::string& route_table);

}  // namespace imgbuild::builder
