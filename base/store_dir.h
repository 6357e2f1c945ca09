#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "base/work_claim.h"

namespace imgbuild {

class Syncer;

/// What a store keeps free, in a file that occupies it.
inline constexpr const char* kReserveFile = "reserve";
inline constexpr std::int64_t kReserveBytes = 1 << 20;

/// A directory in which everything appears complete or not at all, shared by many processes and cleaned
/// without a daemon. What is not finished lies in its `work/` under a name that begins with the mark of the
/// process that makes it; the mark is a lock, so anybody can tell whether that process lives (STO-30).
/// Copies share one mark. Thread-safe.
class StoreDir {
 public:
  /// Implicit, since a descriptor says it all. Borrowed: it outlives every copy. Nothing is opened or made
  /// before it is needed. -1: no directory, for those who can do without.
  StoreDir(int root);  // NOLINT(google-explicit-constructor)

  int fd() const noexcept;
  /// `work/` itself; -1 without a directory. Throws SystemError.
  int work_fd() const;
  /// A name for `work/` that is removed by somebody's next start if this process dies. Throws SystemError.
  std::string work_name() const;
  /// A fresh directory in `work/`.
  TempDir make_work_dir() const;
  /// How the names of this process begin, for those who make their own. Throws SystemError.
  std::string work_prefix() const;

  /// What waiting for others does in this process, besides waiting: `stop` ends it with Cancelled, and
  /// `on_wait` hears what is waited for, and whose work it is, when that takes long (STO-24). To be called
  /// before there are threads.
  void set_waiting(std::stop_token stop, std::function<void(const std::string& what, pid_t owner)> on_wait);
  LockWait waiting_for(std::string what, std::stop_token stop = {}) const;
  /// `locks/`; files in it are never removed. Throws SystemError.
  int locks_fd() const;
  /// The right to do a piece of work of `kind` that others may want to do, too: whoever comes later waits,
  /// then looks for the result. Nothing without a directory, or
  /// in one that cannot be written. Throws Cancelled, SystemError.
  std::optional<WorkClaim> claim(const std::string& kind, const Digest& key, const LockWait& wait) const;
  std::optional<WorkClaim> claim(const std::string& kind, const Digest& key, std::string what) const;

  /// Gives `dir`/`name` this content in one step: a reader sees the old bytes, the new ones, or no file.
  /// With a `syncer` it is on the disk when this returns. On a full disk the reserve is given up for it.
  /// Throws SystemError.
  void publish(int dir, const std::string& name, std::string_view bytes, Syncer* syncer = nullptr) const;
  /// Frees the space that is kept for the end of a build and for cleaning up on a full disk (STO-33). False
  /// when there was none. The next process that writes keeps some again.
  bool release_reserve() const noexcept;

 private:
  void publish_once(int dir, const std::string& name, std::string_view bytes, Syncer* syncer) const;

  struct State;
  std::shared_ptr<State> state_;
};

/// Removes what processes that are gone left in `work/`. Cheap when there is nothing. Returns how many names
/// were removed; one that cannot be removed now, or that `keep` wants, stays for the next time.
int sweep_work(const StoreDir& store,
               const std::function<bool(int work, const std::string& name)>& keep = {});

}  // namespace imgbuild
