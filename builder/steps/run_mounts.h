#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/temp_dir.h"
#include "builder/cache_mounts.h"
#include "builder/sandbox.h"
#include "builder/ssh_proxy.h"
#include "builder/steps/step.h"
#include "builder/user_lookup.h"

namespace imgbuild::builder {

/// The mounts of one RUN, evaluated and opened. Owns what the sandbox only borrows: descriptors, locks,
/// temporary copies of context files. Lives until the command has ended.
class RunMounts {
 public:
  RunMounts(const StepContext& context, const RunOp& op);
  ~RunMounts();
  RunMounts(const RunMounts&) = delete;
  RunMounts& operator=(const RunMounts&) = delete;

  /// Adds what the mounts contribute to the step's key: targets, types, flags, and the content of bind
  /// sources; never secret values, cache ids or source paths (CAC-14, CAC-15).
  void add_to_key(cache::CacheKeyBuilder& key);

  /// Opens everything for a command of `user`. Waits for cache locks; throws Cancelled when stopped, Error
  /// for a required secret that was not given or a source that does not exist.
  void open(const UserIds& user, std::stop_token stop);

  /// Lets others have the caches, once no process of the command is left.
  void release_caches() noexcept { caches_.clear(); }

  std::vector<SandboxMount> take_mounts() { return std::move(mounts_); }
  /// Ids of the secrets that were given and are mounted.
  const std::vector<std::string>& secret_ids() const noexcept { return secret_ids_; }
  /// Variables from `env=` secrets and ssh mounts, "k=v".
  const std::vector<std::string>& env() const noexcept { return env_; }

 private:
  void open_bind(const PlannedMount& mount);
  CacheMountRequest cache_request(const PlannedMount& mount, const UserIds& user) const;
  void acquire_caches(const UserIds& user, std::stop_token stop);
  void open_cache(const PlannedMount& mount, std::size_t number);
  void open_tmpfs(const PlannedMount& mount);
  void open_secret(const PlannedMount& mount);
  void open_ssh(const PlannedMount& mount, std::size_t number);

  const StepContext& context_;
  const RunOp& op_;
  std::vector<SandboxMount> mounts_;
  std::vector<std::string> env_, secret_ids_;
  std::vector<UniqueFd> descriptors_;
  std::vector<TempDir> copies_;
  std::vector<CacheMountLease> caches_;
  std::vector<std::shared_ptr<LayerDirs>> layers_;
  std::vector<std::unique_ptr<SshProxy>> agents_;
};

}  // namespace imgbuild::builder
