#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "base/store_dir.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"

namespace imgbuild::builder {

class SshKeys;

/// A socket that speaks the ssh agent protocol to a RUN and passes on only what a build may ask for: listing
/// identities and signing, either to the user's agent or to keys of the build's own. Adding, removing and
/// locking keys is answered with a failure (SEC-20…22). Serves on a thread of its own until it is destroyed;
/// then every connection is closed.
class SshProxy {
 public:
  struct Options {
    std::string agent;                    ///< path of the user's agent socket; unused with keys
    std::shared_ptr<const SshKeys> keys;  ///< an agent of our own that holds only these (SEC-20)
    StoreDir directory = -1;              ///< a private directory is made here for the socket
    std::uint32_t mode = 0600;
    std::uint32_t uid = 0, gid = 0;
  };
  /// Throws SystemError.
  explicit SshProxy(const Options& options);
  ~SshProxy();
  SshProxy(const SshProxy&) = delete;
  SshProxy& operator=(const SshProxy&) = delete;

  /// O_PATH descriptor of the socket file, to be bound into the sandbox.
  int socket_fd() const noexcept { return socket_file_.get(); }

 private:
  void serve(std::stop_token stop);

  std::string agent_;
  std::shared_ptr<const SshKeys> keys_;
  TempDir directory_;
  UniqueFd listener_;
  UniqueFd socket_file_;
  UniqueFd wake_;
  std::jthread thread_;  // last: it uses all of the above
};

/// Whether a request of this type may reach the agent (SEC-21).
bool ssh_request_allowed(std::uint8_t type) noexcept;

}  // namespace imgbuild::builder
