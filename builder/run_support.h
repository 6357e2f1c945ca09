#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/store_dir.h"
#include "base/syncer.h"
#include "base/use_log.h"
#include "builder/layer_indexes.h"
#include "builder/probe.h"
#include "builder/sandbox.h"
#include "builder/snapshotter.h"
#include "oci/blob_store.h"

namespace imgbuild::builder {

/// What RUN needs of this machine, or why it cannot be had.
struct RunSupport {
  Snapshotter* snapshots = nullptr;  ///< none where RUN cannot be had
  Sandbox* sandbox = nullptr;
  std::string refusal;              ///< why there is no sandbox, for the error of a RUN
  std::vector<std::string> advice;  ///< what to do about that
};

/// Finds out at the first get() what this machine can do, and opens it; a build whose steps are all cached or
/// need no directories never asks and pays nothing. What worked once in this environment on this store is not
/// tried again (SBX-7). Thread-safe. Borrows everything; must outlive what it gave.
class LazyRunSupport {
 public:
  struct Options {
    StoreDir store = -1;
    TierReport tier;          ///< the tier the process has moved into
    std::string environment;  ///< run_environment() before it did; empty: it moved nowhere
    bool is_root = false;     ///< for advice
    std::uint64_t epoch = 1;  ///< of the store
    Syncer* syncer = nullptr;
    UseLog* uses = nullptr;  ///< told which extracted layers are used
  };
  LazyRunSupport(Options options, oci::BlobStore& blobs, LayerIndexes& indexes);
  ~LazyRunSupport();

  /// Never throws for what the machine cannot do; SystemError when the store cannot be used.
  const RunSupport& get();

 private:
  struct Opened;
  RunSupport open();

  const Options options_;
  oci::BlobStore& blobs_;
  LayerIndexes& indexes_;
  std::once_flag once_;
  std::unique_ptr<Opened> opened_;
  RunSupport support_;
};

}  // namespace imgbuild::builder
