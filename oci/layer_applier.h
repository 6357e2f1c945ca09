#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/stream.h"
#include "oci/blob_store.h"
#include "oci/descriptor.h"
#include "oci/file_tree.h"
#include "oci/node_metadata.h"
#include "oci/tar_reader.h"

namespace imgbuild::oci {

struct ApplyOptions {
  OverlayFlavour flavour = OverlayFlavour::trusted;
  bool keep_owner = true;     ///< false: nodes belong to who runs this (no rights to change owners)
  bool record_owner = false;  ///< see MetadataOptions
  bool make_devices = true;   ///< false: device nodes become empty files and are listed as placeholders
  /// Only the bytes of regular files, under their names, private to who runs this: for readers that take
  /// names and attributes from the layer's index. Needs no rights at all; not a lower directory of anything.
  bool content_only = false;
  TarLimits limits;
};

struct AppliedLayer {
  LayerIndex index;
  std::vector<std::string> placeholders;  ///< paths of devices that stand there as empty files (FS-25)
  std::vector<std::string> warnings;
};

/// Extracts one layer into `dir` as a lower directory of an overlay (OVL-11): whiteouts become character
/// devices 0:0, hidden directories get the opaque attribute. `dir` is a fresh private directory nobody else
/// writes to (FS-20); it is left half-written when this throws, so drop it then. `lower` is what lies below:
/// directories the layer only implies get their attributes from there (FS-22), and whiteouts of what it does
/// not have are left out. The source is read to its end. Throws IntegrityError for a malformed layer,
/// SystemError on I/O. Not for two threads on one `dir`; the umask does not matter.
AppliedLayer apply_layer(Source& plain_tar, int dir, const FileTree& lower, const ApplyOptions& options = {});

/// The same for a stored layer, checked against its digest, size and diff ID (LAY-43): when this returns, the
/// directory holds exactly that layer.
AppliedLayer apply_layer(const BlobStore& store, const LayerBlob& layer, int dir, const FileTree& lower,
                         const ApplyOptions& options = {});

}  // namespace imgbuild::oci
