#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "builder/private_network.h"
#include "builder/sandbox.h"
#include "builder/steps/step.h"

namespace imgbuild::builder {

/// The network of one RUN: which namespace, which names. Lives until the command has ended, on the thread
/// that made it.
class RunNetwork {
 public:
  /// `network` as the step has it: default, host, none, private or ns. Throws UnsupportedError when no
  /// program for a private network is installed, Error for a path that is no namespace.
  RunNetwork(const StepContext& context, const std::string& network, std::stop_token stop);

  void apply(SandboxSpec& spec) const;

 private:
  void open_private(std::stop_token stop);
  std::string host_gateway() const;
  bool wants_gateway() const;

  const StepContext& context_;
  SandboxSpec::Network kind_ = SandboxSpec::Network::host;
  std::unique_ptr<PrivateNetwork> private_;
  UniqueFd namespace_;
  std::string resolv_conf_;
  std::vector<std::pair<std::string, std::string>> hosts_;
};

}  // namespace imgbuild::builder
