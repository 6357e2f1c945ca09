#include "oci/net_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace imgbuild::oci {

namespace {

struct Block {
  std::uint32_t network;
  int bits;
};

/// The special-purpose IPv4 registry of RFC 6890, loopback left out.
constexpr Block kLocal4[] = {
    {0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0xa9fe0000, 16}, {0xac100000, 12},
    {0xc0000000, 24}, {0xc0000200, 24}, {0xc0a80000, 16}, {0xc6120000, 15}, {0xc6336400, 24},
    {0xcb007100, 24}, {0xe0000000, 4},  {0xf0000000, 4},
};

AddressScope scope4(std::uint32_t address) {
  if (address >> 24 == 127) return AddressScope::loopback;
  for (const Block& block : kLocal4) {
    if ((address ^ block.network) >> (32 - block.bits) == 0) return AddressScope::local;
  }
  return AddressScope::global;
}

AddressScope scope6(const in6_addr& address) {
  const auto* bytes = address.s6_addr;
  const auto ipv4_at = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8 | bytes[at + i];
    return value;
  };
  const bool high_zero = std::all_of(bytes, bytes + 10, [](std::uint8_t byte) { return byte == 0; });
  if (high_zero && bytes[10] == 0xff && bytes[11] == 0xff) return scope4(ipv4_at(12));
  if (high_zero && bytes[10] == 0 && bytes[11] == 0) {
    const std::uint32_t rest = ipv4_at(12);
    if (rest == 1) return AddressScope::loopback;
    return rest == 0 ? AddressScope::local : scope4(rest);
  }
  // NAT64 and 6to4 carry an IPv4 address that decides.
  if (bytes[0] == 0x00 && bytes[1] == 0x64 && bytes[2] == 0xff && bytes[3] == 0x9b)
    return scope4(ipv4_at(12));
  if (bytes[0] == 0x20 && bytes[1] == 0x02) return scope4(ipv4_at(2));
  return (bytes[0] & 0xe0) == 0x20 ? AddressScope::global : AddressScope::local;
}

}  // namespace

std::optional<AddressScope> address_scope(const std::string& literal) {
  in_addr four{};
  if (inet_pton(AF_INET, literal.c_str(), &four) == 1) return scope4(ntohl(four.s_addr));
  in6_addr six{};
  const std::string without_zone = literal.substr(0, literal.find('%'));
  if (inet_pton(AF_INET6, without_zone.c_str(), &six) == 1) return scope6(six);
  return std::nullopt;
}

std::optional<AddressScope> address_scope(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in four{};
    std::memcpy(&four, &address, sizeof four);
    return scope4(ntohl(four.sin_addr.s_addr));
  }
  if (address.sa_family == AF_INET6) {
    sockaddr_in6 six{};
    std::memcpy(&six, &address, sizeof six);
    return scope6(six.sin6_addr);
  }
  return std::nullopt;
}

}  // namespace imgbuild::oci
