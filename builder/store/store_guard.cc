#include "builder/store/store_guard.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/strings.h"
#include "builder/store/prune.h"

namespace imgbuild::builder {

namespace {

constexpr std::uint64_t kLookEvery = 8u << 20;
constexpr std::uint64_t kMostUncounted = 64u << 20;

}  // namespace

std::uint64_t default_reserve(std::uint64_t size_bytes) noexcept {
  return std::max(size_bytes / 100, std::min<std::uint64_t>(256u << 20, size_bytes / 20));
}

StoreGuard::StoreGuard(StoreRoot& store, StoreLimits limits, std::stop_token stop)
    : store_(store), limits_(limits), stop_(std::move(stop)) {}

std::uint64_t StoreGuard::free_bytes() const {
  struct statvfs info {};
  if (::fstatvfs(store_.dir.get(), &info) != 0)
    throw SystemError(errno, "look at the free space of", store_.path);
  return std::uint64_t{info.f_bavail} * info.f_frsize;
}

bool StoreGuard::keep_reserve(std::uint64_t bytes) {
  const std::uint64_t wanted = reserve_ + bytes;
  std::uint64_t have = free_bytes();
  if (have >= wanted) return true;
  PruneRequest request{.all = true, .wait = false, .from_build = true};
  request.must_free_bytes = wanted - have;
  prune_store(store_, request, stop_);
  have = free_bytes();
  return have >= wanted;
}

void StoreGuard::before_write(std::uint64_t bytes) {
  const std::lock_guard guard(mutex_);
  since_look_ += bytes;
  since_count_ += bytes;
  if (looked_ && since_look_ < kLookEvery) return;
  if (!looked_) {
    struct statvfs info {};
    if (::fstatvfs(store_.dir.get(), &info) != 0)
      throw SystemError(errno, "look at the size of", store_.path);
    reserve_ = limits_.min_free_bytes.value_or(default_reserve(std::uint64_t{info.f_blocks} * info.f_frsize));
    looked_ = true;
  }
  since_look_ = 0;
  if (!keep_reserve(bytes)) {
    Error full(cat("the store is full: ", human_size(free_bytes()), " are left at ", printable(store_.path),
                   " and ", human_size(reserve_), " stay free for others"),
               ExitCode::system);
    full.add_note(
        "free space on its file system (imgbuild prune --all), put the store elsewhere with --root, or lower "
        "min-free in the configuration");
    throw full;
  }
  if (limits_.store_bytes && since_count_ >= std::min(kMostUncounted, *limits_.store_bytes / 8)) {
    since_count_ = 0;
    prune_store(store_, {.all = true, .keep_bytes = limits_.store_bytes, .wait = false, .from_build = true},
                stop_);
  }
}

std::optional<std::uint64_t> StoreGuard::check_limit() {
  const std::lock_guard guard(mutex_);
  if (!limits_.store_bytes || !looked_ || store_.read_only) return std::nullopt;
  const auto result = prune_store(
      store_, {.all = true, .keep_bytes = limits_.store_bytes, .wait = false, .from_build = true}, stop_);
  if (!result.ran || result.left_bytes <= *limits_.store_bytes) return std::nullopt;
  return result.left_bytes;
}

}  // namespace imgbuild::builder
