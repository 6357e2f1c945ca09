#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/store_dir.h"
#include "base/thread_pool.h"
#include "base/timestamp.h"
#include "builder/image_source.h"
#include "builder/layer_indexes.h"
#include "builder/run_support.h"
#include "cache/cache_store.h"
#include "cache/stat_memo.h"
#include "oci/blob_store.h"
#include "oci/image_store.h"

namespace imgbuild {
class Syncer;
}

namespace imgbuild::builder {

class CacheMounts;
class RemoteFetcher;

/// With what to build: the seams where the outside begins. Everything is borrowed and outlives the build.
struct Host {
  oci::BlobStore& blobs;
  oci::ImageStore& images;
  cache::CacheStore& cache;
  cache::StatMemo& memo;
  LayerIndexes& indexes;
  ImageSource& bases;
  CacheMounts& cache_mounts;
  RemoteFetcher& remote;
  ThreadPool& pool;
  std::function<const RunSupport&()> run;  ///< what RUN needs, opened by the first call; thread-safe
  Syncer* syncer = nullptr;                ///< puts results on the disk for certain; none: --durability=fast
  StoreDir store = -1;                     ///< for what is not finished
  std::uint64_t store_epoch = 0;           ///< counts the crashes the store may have seen (STO-8)
  std::string resolv_conf;                 ///< content for /etc/resolv.conf in the sandbox
  std::function<Timestamp()> clock;
};

}  // namespace imgbuild::builder
