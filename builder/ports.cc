#include "builder/ports.h"

#include <arpa/inet.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

struct PortRange {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  std::uint32_t size() const { return last - first + 1; }
};

std::optional<std::uint32_t> parse_port(std::string_view text) {
  const auto value = parse_decimal(text);
  if (!value || *value > 65535) return std::nullopt;
  return static_cast<std::uint32_t>(*value);
}

/// `P` or `P-Q` with P not above Q.
std::optional<PortRange> parse_range(std::string_view text) {
  const auto dash = text.find('-');
  const auto first = parse_port(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : parse_port(text.substr(dash + 1));
  if (!first || !last || *first > *last) return std::nullopt;
  return PortRange{*first, *last};
}

bool is_ip_address(std::string text) {
  if (text.size() > 1 && text.front() == '[' && text.back() == ']') text = text.substr(1, text.size() - 2);
  unsigned char bytes[16];
  // A zone (`%eth0`) does not change whether the rest is an address.
  if (const auto zone = text.find('%'); zone != std::string::npos && text.find(':') != std::string::npos)
    text.resize(zone);
  return inet_pton(AF_INET, text.c_str(), bytes) == 1 || inet_pton(AF_INET6, text.c_str(), bytes) == 1;
}

struct PortText {
  std::string_view ip, host, container, protocol;
};

PortText split_port_text(std::string_view text) {
  PortText out;
  const auto slash = text.rfind('/');
  if (slash != std::string_view::npos) {
    out.protocol = text.substr(slash + 1);
    text = text.substr(0, slash);
  }
  const auto last = text.rfind(':');
  out.container = last == std::string_view::npos ? text : text.substr(last + 1);
  if (last == std::string_view::npos) return out;
  text = text.substr(0, last);
  const auto middle = text.rfind(':');
  out.host = middle == std::string_view::npos ? text : text.substr(middle + 1);
  if (middle != std::string_view::npos) out.ip = text.substr(0, middle);
  return out;
}

[[noreturn]] void fail(std::string_view what, std::string_view text) {
  throw SyntaxError(cat("invalid ", what, ": ", printable(text)));
}

}  // namespace

bool has_host_part(std::string_view text) { return text.find(':') != std::string_view::npos; }

std::string_view protocol_of(std::string_view text) {
  const auto slash = text.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : text.substr(slash + 1);
}

std::vector<std::string> parse_exposed_ports(std::string_view text) {
  // `80/TCP:81`: the protocol belongs behind the container port, so here it is part of the host port.
  const auto slash = text.rfind('/');
  const bool misplaced = slash != std::string_view::npos && text.find(':', slash) != std::string_view::npos;
  PortText parts = misplaced
                       ? PortText{{}, text.substr(0, text.rfind(':')), text.substr(text.rfind(':') + 1), {}}
                       : split_port_text(text);
  const std::string protocol = parts.protocol.empty() ? "tcp" : to_lower(parts.protocol);
  if (parts.container.empty()) {
    throw SyntaxError(cat("invalid port: \"", printable(text), "\": no port specified"));
  }
  if (protocol != "tcp" && protocol != "udp" && protocol != "sctp") {
    throw SyntaxError(
        cat("invalid port: \"", printable(text), "\": invalid proto: ", printable(parts.protocol)));
  }
  if (!parts.ip.empty() && !is_ip_address(std::string(parts.ip))) fail("IP address", parts.ip);
  const auto container = parse_range(parts.container);
  if (!container) fail("containerPort", parts.container);
  if (!parts.host.empty()) {
    const auto host = parse_range(parts.host);
    if (!host) fail("hostPort", parts.host);
    if (host->size() != container->size() && container->size() != 1) {
      throw SyntaxError(cat("invalid ranges specified for container and host Ports: ", parts.container,
                            " and ", parts.host));
    }
  }
  std::vector<std::string> out;
  for (std::uint32_t port = container->first; port <= container->last; ++port)
    out.push_back(cat(port, "/", protocol));
  return out;
}

}  // namespace imgbuild::builder
