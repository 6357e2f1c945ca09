#include "cli/network_options.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "cli/usage.h"
#include "oci/net_address.h"

namespace imgbuild::cli {

namespace {

constexpr std::size_t kMaxServers = 3;  // a resolver reads no more

void set_network(const std::string& text, builder::BuildRequest& request) {
  if (text == "default" || text == "none" || text == "host" || text == "private") {
    request.default_network = text;
  } else if (text == "pasta" || text == "slirp4netns") {
    request.default_network = "private";
    request.network_program =
        text == "pasta" ? builder::NetworkProgram::pasta : builder::NetworkProgram::slirp4netns;
  } else if (text.starts_with("ns:") && text.size() > 3) {
    request.default_network = "ns";
    request.network_namespace = text.substr(3);
  } else {
    throw usage(cat("--network is default, host, none, private, pasta, slirp4netns or ns:PATH, not \"",
                    printable(text), "\""));
  }
}

/// An address without the brackets that IPv6 may be written with.
std::string parse_address(const std::string& text, const std::string& option) {
  const bool brackets = text.size() > 2 && text.starts_with('[') && text.ends_with(']');
  const std::string address = brackets ? text.substr(1, text.size() - 2) : text;
  if (!oci::address_scope(address)) {
    throw usage(cat(option, " wants an IP address, not \"", printable(text), "\""));
  }
  return address;
}

std::pair<std::string, std::string> parse_host(const std::string& text) {
  auto at = text.find('=');
  if (at == std::string::npos) at = text.find(':');
  if (at == std::string::npos || at == 0 || at + 1 == text.size()) {
    throw usage(cat("--add-host wants NAME=ADDRESS, not \"", printable(text), "\""));
  }
  const std::string name = to_lower(text.substr(0, at));
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) > ' ' && c != '#' && c != 0x7f;
  });
  if (!plain) throw usage(cat("--add-host: \"", printable(name), "\" is no host name"));
  const std::string address = text.substr(at + 1);
  return {name, address == "host-gateway" ? address : parse_address(address, "--add-host")};
}

/// One word of resolv.conf: nothing in it may start another word or line.
std::string parse_word(const std::string& text, const std::string& option) {
  const bool plain = !text.empty() && text.size() <= 255 && std::all_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) > ' ' && c != 0x7f;
  });
  if (!plain) throw usage(cat(option, ": \"", printable(text), "\" is not usable"));
  return text;
}

}  // namespace

void apply_network_options(const BuildOptions& options, builder::BuildRequest& request) {
  set_network(options.network, request);
  // RUN --network=host asks for nothing new where that is what RUN has anyway (RUN-20).
  request.allow_network_host = request.default_network == "default" || request.default_network == "host";
  for (const auto& text : options.dns) request.dns.servers.push_back(parse_address(text, "--dns"));
  if (request.dns.servers.size() > kMaxServers) {
    throw usage(cat("--dns: more than ", kMaxServers, " servers, and no resolver asks a fourth"));
  }
  for (const auto& text : options.dns_search)
    request.dns.searches.push_back(parse_word(text, "--dns-search"));
  for (const auto& text : options.dns_options)
    request.dns.options.push_back(parse_word(text, "--dns-option"));
  for (const auto& text : options.add_hosts) request.extra_hosts.push_back(parse_host(text));
}

}  // namespace imgbuild::cli
