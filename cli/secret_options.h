#pragma once

#include "builder/build.h"
#include "cli/options.h"

namespace imgbuild::cli {

/// --secret, --ssh and --allow-secret-leak. Files and variables are read now, commands when a step that runs
/// mounts their secret. Throws Error (usage) that names the option; values are never quoted.
void apply_secret_options(const BuildOptions& options, const Environment& environment,
                          builder::BuildRequest& request);

}  // namespace imgbuild::cli
