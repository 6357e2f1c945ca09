#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace imgbuild::builder {

/// The ports one argument of EXPOSE means, as "80/tcp" (MET-4). Host parts are checked and dropped.
/// Throws SyntaxError (no range).
std::vector<std::string> parse_exposed_ports(std::string_view text);
/// Whether `text` names an IP address or a host port besides the container port.
bool has_host_part(std::string_view text);
/// What stands behind the last `/`; empty without one.
std::string_view protocol_of(std::string_view text);

}  // namespace imgbuild::builder
