#include "builder/resolv_conf.h"

#include <algorithm>

#include "base/strings.h"
#include "oci/net_address.h"

namespace imgbuild::builder {

namespace {

std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < line.size();) {
    const auto end = std::min(line.find_first_of(" \t", at), line.size());
    if (end > at) out.emplace_back(line.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

/// The three things a resolver reads; the last `search` or `domain` line counts, as in resolv.conf(5).
DnsOptions read(std::string_view text) {
  DnsOptions out;
  for (const auto line : split(text, '\n')) {
    auto words = words_of(trim(line));
    if (words.size() < 2) continue;
    const std::string keyword = words.front();
    words.erase(words.begin());
    if (keyword == "nameserver")
      out.servers.push_back(words.front());
    else if (keyword == "search" || keyword == "domain")
      out.searches = words;
    else if (keyword == "options")
      out.options.insert(out.options.end(), words.begin(), words.end());
  }
  return out;
}

bool is_loopback(const std::string& server) {
  return oci::address_scope(server) == oci::AddressScope::loopback;
}

std::string write(const DnsOptions& dns) {
  std::string out;
  for (const auto& server : dns.servers) out += cat("nameserver ", server, "\n");
  if (!dns.searches.empty()) out += cat("search ", join(dns.searches, " "), "\n");
  if (!dns.options.empty()) out += cat("options ", join(dns.options, " "), "\n");
  return out;
}

}  // namespace

std::string make_resolv_conf(const ResolvSources& sources, const DnsOptions& dns) {
  std::string_view text = sources.builder;
  if (!sources.own_network && dns.empty()) return std::string(text);
  DnsOptions found = read(text);
  if (sources.own_network && dns.servers.empty()) {
    if (!sources.forwarder.empty()) {
      found.servers = {std::string(sources.forwarder)};
    } else if (found.servers == std::vector<std::string>{"127.0.0.53"} && !sources.upstream.empty()) {
      found.servers = read(sources.upstream).servers;
    } else if (dns.empty() && std::none_of(found.servers.begin(), found.servers.end(), is_loopback)) {
      return std::string(text);
    }
  }
  if (!dns.servers.empty()) found.servers = dns.servers;
  if (!dns.searches.empty()) found.searches = dns.searches;
  if (found.searches == std::vector<std::string>{"."}) found.searches.clear();
  if (!dns.options.empty()) found.options = dns.options;
  return write(found);
}

}  // namespace imgbuild::builder
