#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "builder/host.h"
#include "builder/store/store_guard.h"
#include "cli/options.h"
#include "cli/tier.h"
#include "oci/registry.h"

namespace imgbuild::cli {

/// Where the store is: `--root`, else IMGBUILD_ROOT, else /var/lib/imgbuild for root and
/// $XDG_DATA_HOME/imgbuild (~/.local/share/imgbuild) for others. Throws Error (usage) when nothing says.
std::string store_path(const std::string& option, const Environment& environment, bool is_root);

/// What is done about requests to registries that fail for a reason that may pass (REG-49).
struct RetryPolicy {
  int count = oci::RegistryOptions{}.max_attempts - 1;
  std::optional<std::chrono::milliseconds> delay = std::nullopt;  ///< nothing: one second, doubled each time
};

/// The store and everything a build is made with, opened. Made once a process, after the user namespace was
/// entered and before a thread that needs it is started.
class StoreSession {
 public:
  struct Options {
    std::string path;
    TierChoice tier;
    RunOptions run;
    bool with_sandbox = true;  ///< false: commands that only look at the store
    std::string ca_pem;        ///< certificates for registries, downloads and git; empty: the machine's
    bool block_private_urls = false;  ///< ADD reaches public addresses only (NET-21)
    bool pull = false;                ///< ask the registry even for names that are in the store
    RetryPolicy retries;
    std::size_t threads = 0;  ///< 0: one a processor
    int stdout_fd = 1;        ///< where outputs to `-` go
    bool durable = false;     ///< --durability=safe
    builder::StoreLimits limits;
    std::stop_token stop = {};  ///< ends transfers and waits for other builds
    /// Hears of long waits for what another build is at, and its process (STO-24).
    std::function<void(const std::string& what, pid_t owner)> on_wait = {};
  };
  /// Creates what is missing. Throws Error when the directory belongs to somebody else, is open to others, or
  /// was made by a newer version (STO-1, STO-2).
  StoreSession(const Options& options, const Environment& environment);
  ~StoreSession();
  StoreSession(const StoreSession&) = delete;
  StoreSession& operator=(const StoreSession&) = delete;

  builder::Host& host() noexcept;
  int root_fd() const noexcept;
  /// What the store takes, when a build that wrote leaves it above its limit. Called once, at the end.
  std::optional<std::uint64_t> above_limit();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace imgbuild::cli
