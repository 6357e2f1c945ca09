#pragma once

#include "builder/build.h"
#include "cli/options.h"

namespace imgbuild::cli {

/// --network, --dns, --dns-search, --dns-option and --add-host. Throws Error (usage) that names the option.
void apply_network_options(const BuildOptions& options, builder::BuildRequest& request);

}  // namespace imgbuild::cli
