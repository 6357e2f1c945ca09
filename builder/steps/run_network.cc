#include "builder/steps/run_network.h"

#include <fcntl.h>

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "builder/resolv_conf.h"

namespace imgbuild::builder {

namespace {

/// systemd-resolved's list of the servers behind its stub at 127.0.0.53.
std::string read_upstream() {
  const UniqueFd file(::open("/run/systemd/resolve/resolv.conf", O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  return file ? read_file(file.get(), 64 * 1024, "systemd's resolv.conf") : std::string();
}

std::string program_name(NetworkProgram program) {
  return program == NetworkProgram::pasta ? "pasta" : "slirp4netns";
}

std::pair<NetworkProgram, std::string> choose_program(const std::optional<NetworkProgram>& wanted) {
  for (const auto program : {NetworkProgram::pasta, NetworkProgram::slirp4netns}) {
    if (wanted && *wanted != program) continue;
    if (auto path = find_network_program(program)) return {program, *path};
  }
  UnsupportedError failure(cat("a private network needs ",
                               wanted ? program_name(*wanted) : "pasta or slirp4netns",
                               ", which is not installed"));
  failure.add_note(wanted == NetworkProgram::slirp4netns ? "install the package slirp4netns"
                                                         : "install the package passt (or slirp4netns)");
  throw failure;
}

}  // namespace

RunNetwork::RunNetwork(const StepContext& context, const std::string& network, std::stop_token stop)
    : context_(context) {
  const BuildRequest& request = context.request;
  if (network == "none") {
    kind_ = SandboxSpec::Network::none;
  } else if (network == "private") {
    open_private(std::move(stop));
  } else if (network == "ns") {
    kind_ = SandboxSpec::Network::joined;
    namespace_ = open_network_namespace(request.network_namespace);
  }
  const bool own = kind_ == SandboxSpec::Network::joined;
  const std::string upstream = own ? read_upstream() : std::string();
  const std::string forwarder = private_ ? private_->name_server() : std::string();
  resolv_conf_ = make_resolv_conf(
      {.builder = context.host.resolv_conf, .upstream = upstream, .forwarder = forwarder, .own_network = own},
      request.dns);
  const std::string gateway = wants_gateway() ? host_gateway() : std::string();
  for (const auto& [name, address] : request.extra_hosts) {
    const bool is_gateway = address == "host-gateway";
    if (!is_gateway)
      hosts_.emplace_back(name, address);
    else if (!gateway.empty())
      hosts_.emplace_back(name, gateway);
  }
}

bool RunNetwork::wants_gateway() const {
  const auto& hosts = context_.request.extra_hosts;
  return std::any_of(hosts.begin(), hosts.end(),
                     [](const auto& host) { return host.second == "host-gateway"; });
}

void RunNetwork::open_private(std::stop_token stop) {
  kind_ = SandboxSpec::Network::joined;
  const auto [program, path] = choose_program(context_.request.network_program);
  private_ = std::make_unique<PrivateNetwork>(program, path, wants_gateway(), std::move(stop));
}

/// Where the builder's machine answers: itself in its own network, the gateway elsewhere, nowhere without
/// any.
std::string RunNetwork::host_gateway() const {
  if (kind_ == SandboxSpec::Network::host) return "127.0.0.1";
  if (kind_ == SandboxSpec::Network::none) return "";
  const int fd = private_ ? private_->namespace_fd() : namespace_.get();
  if (const auto gateway = default_gateway(fd)) return *gateway;
  throw Error("host-gateway: the network of RUN has no default gateway")
      .with_note("give the address itself: --add-host NAME=ADDRESS");
}

void RunNetwork::apply(SandboxSpec& spec) const {
  spec.network = kind_;
  spec.network_fd = private_ ? private_->namespace_fd() : namespace_.get();
  spec.resolv_conf = resolv_conf_;
  spec.extra_hosts = hosts_;
}

}  // namespace imgbuild::builder
