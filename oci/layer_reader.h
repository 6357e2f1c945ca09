#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "base/compress.h"
#include "base/stream.h"
#include "oci/blob_store.h"
#include "oci/descriptor.h"
#include "oci/layer_index.h"
#include "oci/layer_names.h"
#include "oci/tar_reader.h"

namespace imgbuild::oci {

/// Gets every member in archive order: `entry` with its real path, what happens at that place, and the reader
/// to take the bytes from (or not).
using LayerVisitor = std::function<void(const LayerEntry& entry, Placement placement, TarReader& content,
                                        const TarMember& member)>;

/// Reads a whole layer's tar, up to the end of the source, and tells what it holds. `visit` may be empty.
/// Throws IntegrityError for a malformed layer (FS-21…34) or one beyond the limits.
LayerNames read_layer(Source& plain_tar, const LayerVisitor& visit = {}, const TarLimits& limits = {});

/// How a layer of this media type is compressed; OCI's and Docker's names. Throws UnsupportedError for
/// others.
CompressionKind layer_compression(std::string_view media_type);

/// The tar inside a stored layer. Decompressing runs on a thread of its own. The end of stream is reported
/// only after digest and size of the blob, all checksums on the way and the diff ID matched (LAY-43), so read
/// up to it before believing anything. Throws IntegrityError when they do not.
std::unique_ptr<Source> open_layer(const BlobStore& store, const LayerBlob& layer,
                                   const DecompressLimits& limits = {});

/// Reads and checks a stored layer for its names.
LayerIndex index_layer(const BlobStore& store, const LayerBlob& layer, const TarLimits& limits = {});
inline LayerIndex index_layer(const BlobStore& store, const Descriptor& blob, const DiffId& diff_id,
                              const TarLimits& limits = {}) {
  return index_layer(store, LayerBlob{blob, diff_id}, limits);
}

}  // namespace imgbuild::oci
