#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/file_lock.h"
#include "base/store_dir.h"
#include "base/unique_fd.h"
#include "parser/mount_options.h"

namespace imgbuild {
class UseLog;
}

namespace imgbuild::builder {

/// A cache directory handed to one RUN. The lock, if the sharing mode asks for one, lives as long as this.
struct CacheMountLease {
  UniqueFd directory;  ///< O_PATH, of the content
  std::optional<FileLock> lock;
};

/// What makes two cache mounts the same one (MNT-30, 32; SEC-30).
struct CacheMountRequest {
  std::string id;  ///< namespace included
  parser::MountOptions::Sharing sharing = parser::MountOptions::Sharing::shared;
  std::uint32_t mode = 0755;  ///< of the top directory when it is created
  std::uint32_t uid = 0, gid = 0;
  std::string seed_key;  ///< names the seed content; empty: starts empty
  /// Fills a new, empty directory (descriptor) with the seed; unset: starts empty.
  std::function<void(int directory)> seed;
};

/// The file of `locks/` that is locked while the cache mount `instance` of `mounts/` is used.
std::string cache_mount_lock(const std::string& instance);

/// The directories behind `RUN --mount=type=cache`, under `mounts/` of the store, named by a hash, never by
/// the id. Content persists between builds and is never part of a layer. Thread- and process-safe.
class CacheMounts {
 public:
  /// `uses` is told which instances are acquired (borrowed).
  explicit CacheMounts(const StoreDir& store, UseLog* uses = nullptr);
  /// Waits when the instance is locked (`locked`), takes a free or a new instance (`private`). Throws
  /// Cancelled.
  CacheMountLease acquire(const CacheMountRequest& request, std::stop_token stop);
  /// All the caches of one RUN, in the order of `requests`. They are taken in the order of their names, so
  /// that two commands that want the same ones never wait for each other (STO-23), and a cache that is asked
  /// for twice is taken once.
  std::vector<CacheMountLease> acquire_all(const std::vector<CacheMountRequest>& requests,
                                           std::stop_token stop);

 private:
  CacheMountLease open_instance(const CacheMountRequest& request, const std::string& name);
  StoreDir store_;
  UniqueFd mounts_;
  UniqueFd locks_;
  UseLog* uses_;
};

}  // namespace imgbuild::builder
