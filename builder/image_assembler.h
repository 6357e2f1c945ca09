#pragma once

#include <optional>
#include <stop_token>

#include "builder/executor.h"
#include "builder/host.h"
#include "builder/plan.h"
#include "builder/secrets.h"
#include "oci/blob_store.h"
#include "oci/image.h"

namespace imgbuild::builder {

/// Makes the image of the target stage: config with diff IDs, history and time, then the manifest; both are
/// stored. A pure function of its inputs, so that an unchanged build gives the same digest (IMG-36, REP-6).
/// Throws Error when a secret the build mounted stands in it.
oci::Image assemble_image(const Plan& plan, const StageResult& target, const SecretStore& secrets,
                          oci::BlobStore& blobs);

/// `snapshot` with every layer this build may have taken from a build without the epoch rewritten, so that no
/// time in it is later than `epoch` (REP-3, SDE-5). Layers of the base stay as they are.
Snapshot clamp_layers(const Snapshot& snapshot, std::int64_t epoch, const Compression& how, Host& host,
                      const std::stop_token& stop);

}  // namespace imgbuild::builder
