#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>

#include "builder/store/store_root.h"
#include "oci/write_guard.h"

namespace imgbuild::builder {

struct StoreLimits {
  std::optional<std::uint64_t> store_bytes;  ///< --store-limit: what the store may take; nothing: no limit
  std::optional<std::uint64_t>
      min_free_bytes;  ///< left to others on the file system; nothing: default_reserve()
};

/// 1 % of a file system of `size_bytes`, at least 256 MiB, but never more than 5 % of a small one (STO-33).
std::uint64_t default_reserve(std::uint64_t size_bytes) noexcept;

/// Keeps a store within its limits while builds write to it: what is least valuable and held by nobody is
/// removed as soon as a limit is passed. Looks again after every few megabytes written, so a build that
/// writes nothing pays nothing. Thread-safe.
class StoreGuard final : public oci::WriteGuard {
 public:
  /// `store` outlives it.
  StoreGuard(StoreRoot& store, StoreLimits limits, std::stop_token stop);

  /// Called before `bytes` are written. Throws Error (system) when they would take the last free space, which
  /// is left to others, and nothing can be removed.
  void before_write(std::uint64_t bytes) override;
  /// Once at the end of a build that wrote something. Gives what the store takes when that is more than its
  /// limit.
  std::optional<std::uint64_t> check_limit();

 private:
  std::uint64_t free_bytes() const;
  bool keep_reserve(std::uint64_t bytes);

  StoreRoot& store_;
  StoreLimits limits_;
  std::stop_token stop_;
  std::uint64_t reserve_ = 0;
  std::mutex mutex_;
  std::uint64_t since_look_ = 0;   ///< bytes written since free space was looked at
  std::uint64_t since_count_ = 0;  ///< and since the store was counted
  bool looked_ = false;
};

}  // namespace imgbuild::builder
