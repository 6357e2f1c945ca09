#pragma once

#include <memory>
#include <vector>

#include "builder/content_provider.h"
#include "builder/host.h"

namespace imgbuild::builder {

/// Bytes of the files of a snapshot, got the first time one is opened: from extracted layers where the host
/// can extract them, else out of the layers' blobs.
std::shared_ptr<ContentProvider> layer_content(Host& host, const std::vector<oci::LayerBlob>& layers);

}  // namespace imgbuild::builder
