#pragma once

#include <optional>
#include <string>

struct sockaddr;

namespace imgbuild::oci {

/// Where an IP address leads (NET-8, NET-21). `local` is everything that is neither loopback nor reachable
/// from the internet: private, link-local, unique-local, shared, unspecified, multicast, reserved.
enum class AddressScope { loopback, local, global };

/// Scope of an IP literal (IPv6 without brackets; IPv4 inside IPv6 counts as that IPv4); nothing for a name.
std::optional<AddressScope> address_scope(const std::string& literal);
/// Nothing for a family other than IPv4 and IPv6.
std::optional<AddressScope> address_scope(const sockaddr& address);

}  // namespace imgbuild::oci
