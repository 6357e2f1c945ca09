#include "builder/cache_mounts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

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

CacheMounts::CacheMounts(int store_root, UseLog* uses) : uses_(uses) {
  ensure_dir_at(store_root, "mounts", 0700);
  ensure_dir_at(store_root, "locks", 0700);
  mounts_ = open_at(store_root, "mounts", O_RDONLY | O_DIRECTORY);
  locks_ = open_at(store_root, "locks", O_RDONLY | O_DIRECTORY);
}

CacheMountLease CacheMounts::open_instance(const CacheMountRequest& request, const std::string& name) {
  UniqueFd directory = open_at_if_exists(mounts_.get(), name, O_RDONLY | O_DIRECTORY);
  if (!directory) {
    // Made aside and renamed, so that nobody meets a cache that is half seeded.
    TempDir fresh = TempDir::create(mounts_.get(), ".new-");
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
  const auto lock_name = [](const std::string& instance) { return "mount-" + instance; };
  switch (request.sharing) {
    case Sharing::shared: {
      auto lock = FileLock::acquire(locks_.get(), lock_name(name), FileLock::Kind::shared, stop);
      auto lease = open_instance(request, name);
      lease.lock = std::move(lock);
      return lease;
    }
    case Sharing::locked: {
      auto lock = FileLock::acquire(locks_.get(), lock_name(name), FileLock::Kind::exclusive, stop);
      auto lease = open_instance(request, name);
      lease.lock = std::move(lock);
      return lease;
    }
    case Sharing::private_:
      break;
  }
  for (unsigned number = 0;; ++number) {
    const std::string instance = number == 0 ? name : cat(name, "-", number);
    auto lock = FileLock::try_acquire(locks_.get(), lock_name(instance), FileLock::Kind::exclusive);
    if (!lock) continue;
    auto lease = open_instance(request, instance);
    lease.lock = std::move(lock);
    return lease;
  }
}

}  // namespace imgbuild::builder
