#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

namespace imgbuild::builder {

/// The external git, closed off from the user's and the repository's configuration (NET-22).
struct GitProgram {
  std::string path = "/usr/bin/git";                         ///< absolute, resolved at start-up
  std::string search_path = "/usr/local/bin:/usr/bin:/bin";  ///< PATH for git's own helpers
  std::string http_proxy, https_proxy, no_proxy;
  std::string ca_file;
  std::string ca_pem;      ///< certificates themselves, instead of ca_file
  std::string ssh_socket;  ///< agent for ssh remotes; empty: none
  /// Absolute path of the only file host keys of ssh remotes are looked up in; empty: ssh's own files, the
  /// user's and the system's. An unknown or changed host key always ends the fetch (SEC-22).
  std::string known_hosts;
};

struct GitOutcome {
  int exit_code = 0;   ///< 128 + n when signal n ended it
  std::string output;  ///< standard output, at most 16 MiB
  std::string errors;  ///< standard error, cut at 64 KiB
};

/// Settings for one call, passed through the environment so that secrets are on no command line.
struct GitSetting {
  std::string key;
  std::string value;
};

/// Runs `git arguments…` in `directory` with `home` as HOME and nothing of our environment; ends it when
/// `stop` is requested (Cancelled). Throws SystemError when it cannot be started, Error when it prints too
/// much.
GitOutcome run_git(const GitProgram& program, const std::string& directory, const std::string& home,
                   const std::vector<GitSetting>& settings, const std::vector<std::string>& arguments,
                   std::stop_token stop);

}  // namespace imgbuild::builder
