#pragma once

#include <map>
#include <string>

namespace imgbuild::builder {

/// Secrets a build may mount, by id. Values never enter keys, layers, configs or errors (SEC-1…9).
struct SecretStore {
  std::map<std::string, std::string> values;
  /// Listening agent sockets or key sets forwarded with --ssh: id -> path of the agent's socket.
  std::map<std::string, std::string> ssh_sockets;
};

}  // namespace imgbuild::builder
