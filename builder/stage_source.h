#pragma once

#include <memory>

#include "builder/content_provider.h"
#include "builder/source_tree.h"
#include "oci/file_tree.h"

namespace imgbuild::builder {

/// A snapshot as a source, for COPY --from and mounts of stages and images: owners, modes, times, links and
/// xattrs as the layers have them (COPY-42). Digests come from the layers' indexes; a file without one there
/// is read once. Thread-safe.
std::unique_ptr<SourceTree> make_stage_source(oci::FileTree tree, std::shared_ptr<ContentProvider> content);

}  // namespace imgbuild::builder
