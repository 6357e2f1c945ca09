#include "builder/cache_mounts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/use_log.h"

namespace imgbuild::builder {

namespace {

using Sharing = parser::MountOptions::Sharing;

/// Other owner, mode or seed: another cache with the same id (MNT-32).
std::string instance_name(const CacheMountRequest& request) {
  std::string text;
  for (const std::string& part :
       {request.id, cat(request.mode), cat(request.uid), cat(request.gid), request.seed_key}) {
    text += cat(part.size(), ":", part, ",");
  }
  return sha256(text).hex();
}

}  // namespace

std::string cache_mount_lock(const std::string& instance) { return cat("mount-", instance); }

CacheMounts::CacheMounts(const StoreDir& store, UseLog* uses) : store_(store), uses_(uses) {
  const int store_root = store.fd();
  ensure_dir_at(store_root, "mounts", 0700);
  ensure_dir_at(store_root, "locks", 0700);
  mounts_ = open_at(store_root, "mounts", O_RDONLY | O_DIRECTORY);
  locks_ = open_at(store_root, "locks", O_RDONLY | O_DIRECTORY);
}

CacheMountLease CacheMounts::open_instance(const CacheMountRequest& request, const std::string& name) {
  UniqueFd directory = open_at_if_exists(mounts_.get(), name, O_RDONLY | O_DIRECTORY);
  if (!directory) {
    // Made aside and renamed, so that nobody meets a cache that is half seeded.
    TempDir fresh = store_.make_work_dir();
    ensure_dir_at(fresh.fd(), "data", 0700);
    const UniqueFd data = open_at(fresh.fd(), "data", O_RDONLY | O_DIRECTORY);
    if (request.seed) request.seed(data.get());
    if (::fchown(data.get(), request.uid, request.gid) != 0) {
      throw SystemError(errno, cat("give the cache mount to ", request.uid, ":", request.gid));
    }
    if (::fchmod(data.get(), request.mode) != 0) throw SystemError(errno, "set the mode of the cache mount");
    if (::renameat2(fresh.parent_fd(), fresh.name().c_str(), mounts_.get(), name.c_str(), RENAME_NOREPLACE) ==
        0) {
      fresh.release();
    } else if (errno != EEXIST) {
      throw SystemError(errno, "publish cache mount");
    }
    directory = open_at(mounts_.get(), name, O_RDONLY | O_DIRECTORY);
  }
  return {open_at(directory.get(), "data", O_PATH | O_DIRECTORY), std::nullopt};
}

CacheMountLease CacheMounts::acquire(const CacheMountRequest& request, std::stop_token stop) {
  const std::string name = instance_name(request);
  if (uses_ != nullptr) uses_->note(Digest::parse(cat("sha256:", name)));
  if (request.sharing == Sharing::private_) {
    for (unsigned number = 0;; ++number) {
      const std::string instance = number == 0 ? name : cat(name, "-", number);
      auto lock = FileLock::try_acquire(locks_.get(), cache_mount_lock(instance), FileLock::Kind::exclusive);
      if (!lock) continue;
      auto lease = open_instance(request, instance);
      lease.lock = std::move(lock);
      return lease;
    }
  }
  const auto kind = request.sharing == Sharing::locked ? FileLock::Kind::exclusive : FileLock::Kind::shared;
  auto lock =
      FileLock::acquire(locks_.get(), cache_mount_lock(name), kind,
                        store_.waiting_for(cat("the cache ", printable(request.id)), std::move(stop)));
  auto lease = open_instance(request, name);
  lease.lock = std::move(lock);
  return lease;
}

std::vector<CacheMountLease> CacheMounts::acquire_all(const std::vector<CacheMountRequest>& requests,
                                                      std::stop_token stop) {
  std::map<std::string, std::vector<std::size_t>> by_name;
  for (std::size_t i = 0; i < requests.size(); ++i) by_name[instance_name(requests[i])].push_back(i);
  std::vector<CacheMountLease> leases(requests.size());
  for (const auto& [name, users] : by_name) {
    const auto is_locked = [&](std::size_t i) { return requests[i].sharing == Sharing::locked; };
    const bool locked = std::any_of(users.begin(), users.end(), is_locked);
    const CacheMountLease* first = nullptr;
    for (const std::size_t i : users) {
      if (requests[i].sharing == Sharing::private_) {
        leases[i] = acquire(requests[i], stop);
      } else if (first == nullptr) {
        CacheMountRequest request = requests[i];
        if (locked) request.sharing = Sharing::locked;
        leases[i] = acquire(request, stop);
        first = &leases[i];
      } else {
        leases[i].directory = first->directory.duplicate();
      }
    }
  }
  return leases;
}

}  // namespace imgbuild::builder
