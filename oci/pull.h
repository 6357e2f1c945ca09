#pragma once

#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "base/store_dir.h"
#include "oci/blob_store.h"
#include "oci/image.h"
#include "oci/platform.h"
#include "oci/reference.h"
#include "oci/registry.h"

namespace imgbuild::oci {

struct PullOptions {
  bool exact_platform = false;  ///< no fallback to another platform (IMG-44)
  std::size_t transfers = 4;    ///< at once, in one call of fetch_layers (REG-48)
  std::function<void(const Digest&, std::uint64_t done, std::uint64_t total)> progress;  ///< from any thread
  /// Where processes agree on who fetches a blob; -1: every process for itself.
  StoreDir shared = -1;
};

/// Gets images from registries into a blob store: documents at once, layers when somebody needs them. Blobs
/// that are stored already are not fetched; a blob that is on its way is not fetched twice. Thread-safe.
class ImagePuller {
 public:
  /// Both outlive the puller.
  ImagePuller(Registry& registry, BlobStore& store, PullOptions options = {});

  /// What `name` means now, for `platform`: index, manifest and config are stored and verified afterwards,
  /// layers need not be (REG-41…43, NET-4). Throws RegistryError, IntegrityError, Error "no match for
  /// platform".
  Image resolve(const Reference& name, const Platform& platform, std::stop_token stop = {});
  Image resolve(const Reference& name, const Platform& platform, bool exact_platform, std::stop_token stop);

  /// Stores the blobs of `layers`, in parallel. A layer that is not stored must belong to an image resolved
  /// here.
  void fetch_layers(const std::vector<LayerBlob>& layers, std::stop_token stop = {});
  /// The same, for layers that are in the repository of `name`.
  void fetch_layers(const Reference& name, const std::vector<LayerBlob>& layers, std::stop_token stop = {});

 private:
  Descriptor resolve_top(const Reference& name, std::stop_token stop);
  void ensure_manifest(const Reference& name, const Descriptor& wanted, std::stop_token stop);
  Descriptor descend(const Reference& name, Descriptor target, const Platform& platform, bool exact_platform,
                     std::stop_token stop);
  void ensure_blob(const Descriptor& blob, std::stop_token stop);
  void remember(const Reference& name, const std::vector<LayerBlob>& layers);

  Registry& registry_;
  BlobStore& store_;
  PullOptions options_;
  std::mutex mutex_;
  std::map<Digest, Reference> origins_;  ///< where a layer can be had
  std::map<Digest, std::shared_future<void>> under_way_;
};

}  // namespace imgbuild::oci
