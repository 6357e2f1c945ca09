#pragma once

#include "oci/file_tree.h"

namespace imgbuild::builder {

/// Opens the bytes of files of a snapshot's FileTree. Thread-safe. Made for one snapshot by the layer
/// directories (builder/layer_dirs.h), which extract a layer the first time somebody looks into it.
class ContentProvider {
 public:
  virtual ~ContentProvider() = default;
  virtual oci::ContentOpener open(const oci::ContentOrigin& origin) = 0;
};

}  // namespace imgbuild::builder
