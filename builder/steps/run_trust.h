#pragma once

#include <string>
#include <vector>

#include "builder/content_provider.h"
#include "builder/sandbox.h"
#include "builder/steps/step.h"
#include "oci/file_tree.h"

namespace imgbuild::builder {

/// Makes the certificates of `--ca-bundle` trusted inside one RUN: appended to the image's bundles, and in a
/// file of their own, after the image's (else the builder's) certificates, that the usual variables name.
/// Nothing of it is part of a key or a layer. Without the option nothing is done.
void apply_trust(SandboxSpec& spec, const StepContext& context, const oci::FileTree& below,
                 ContentProvider& content);

/// The variables that programs look for certificates in.
const std::vector<std::string>& ca_variables();

}  // namespace imgbuild::builder
