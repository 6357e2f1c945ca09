#pragma once

#include <cstdint>
#include <stop_token>
#include <string_view>
#include <vector>

#include "base/compress.h"
#include "base/packed_pieces.h"
#include "base/thread_pool.h"
#include "oci/blob_store.h"
#include "oci/descriptor.h"
#include "oci/layer_entry.h"
#include "oci/layer_index.h"
#include "oci/tar_writer.h"

namespace imgbuild::oci {

struct WriteLayerOptions {
  TarOptions tar;
  /// Fill in the content digest of regular files that have none yet, while their bytes pass.
  bool compute_content = false;
  /// Pieces of an earlier layer compressed in the same way, to take what did not change from, and to have the
  /// pieces of this one told. Borrowed; may be null.
  const PackedPieces* pieces = nullptr;
  std::stop_token stop = {};  ///< ends the writing with Cancelled
};

struct WrittenLayer {
  LayerBlob layer;
  LayerIndex index;     ///< with the attributes as written: whole seconds, clamped
  PackedReport packed;  ///< filled in when there were `pieces`
};

/// The OCI media type of a layer compressed like this (IMG-5…).
std::string_view layer_media_type(CompressionKind kind);

/// How many bytes the files among `entries` have together.
std::uint64_t content_bytes(const std::vector<PendingEntry>& entries);

/// What the index of a layer made of `entries` will say, but for contents whose digests are not known.
LayerIndex index_before_writing(const std::vector<PendingEntry>& entries, const TarOptions& options);

/// Writes one layer into the store: tar, diff ID, compression, digest, all in one pass and in bounded memory
/// (LAY-54). `entries` are in layer order with their parents (order_entries, add_parents); see TarWriter for
/// what is refused. Hashing, compressing and reading small files run on `pool`; large files are read on the
/// calling thread. The bytes are the same for any number of threads. May be called from a task of the
/// pool, and by several threads. Throws Error for entries a layer cannot hold, Cancelled and whatever their
/// sources and the store throw; nothing is stored then.
WrittenLayer write_layer(const std::vector<PendingEntry>& entries, const Compression& how, BlobStore& store,
                         ThreadPool* pool, const WriteLayerOptions& options = {});

}  // namespace imgbuild::oci
