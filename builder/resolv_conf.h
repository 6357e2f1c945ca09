#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace imgbuild::builder {

/// What the command line says about names: `--dns`, `--dns-search`, `--dns-option`.
struct DnsOptions {
  std::vector<std::string> servers;   ///< IP addresses; none: the builder's
  std::vector<std::string> searches;  ///< none: the builder's; a single ".": no search list
  std::vector<std::string> options;   ///< none: the builder's
  bool empty() const noexcept { return servers.empty() && searches.empty() && options.empty(); }
};

/// Where the content of a RUN's /etc/resolv.conf comes from (SBX-53). Borrowed.
struct ResolvSources {
  std::string_view builder;    ///< the builder's own file
  std::string_view upstream;   ///< systemd-resolved's list of real servers; may be empty
  std::string_view forwarder;  ///< address that a private network answers on; empty: none
  bool own_network = false;    ///< the RUN has another network namespace than the builder
};

/// In the builder's network its file is kept as it is unless an option asks otherwise. In another namespace a
/// server on a loopback address cannot be reached: the forwarder is used where there is one, else systemd's
/// upstream list stands in for a lone 127.0.0.53.
std::string make_resolv_conf(const ResolvSources& sources, const DnsOptions& dns);

}  // namespace imgbuild::builder
