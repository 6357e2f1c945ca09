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
class EventSink;
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
  Syncer* syncer = nullptr;                ///< puts results on the disk for certain; none: --durability=fast
  std::function<const RunSupport&()> run;  ///< what RUN needs, opened by the first call; thread-safe
  bool run_is_doubtful = false;  ///< RUN may well be refused, which had better be found out before any step
  std::function<void(EventSink&)> announce_run;  ///< says once what RUN runs in (SBX-4); may be unset
  StoreDir store = -1;                           ///< for what is not finished
  std::uint64_t store_epoch = 0;                 ///< counts the crashes the store may have seen (STO-8)
  std::string resolv_conf;                       ///< content for /etc/resolv.conf in the sandbox
  std::function<Timestamp()> clock;
};

}  // namespace imgbuild::builder
