#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/store_dir.h"
#include "builder/fuse_program.h"
#include "oci/node_metadata.h"

namespace imgbuild::builder {

/// How RUN can be isolated here, best first (SBX-4).
enum class Tier : std::uint8_t {
  root,            ///< T0: root with all rights
  user_namespace,  ///< T1: root of a user namespace with many ids
  single_id,       ///< T2: root of a user namespace with one id
  chroot,  ///< T3: root that may not mount, as in a container: no boundary, only another root directory
  none,    ///< T4: no RUN; builds without RUN work
};
/// "T0" to "T4".
std::string_view tier_name(Tier tier) noexcept;

/// Why a tier cannot be had.
struct Blocker {
  enum class Cause : std::uint8_t {
    not_root,             ///< T0, T3: started by an ordinary user
    no_admin_right,       ///< no CAP_SYS_ADMIN
    not_first_namespace,  ///< root of a user namespace only
    user_namespace,       ///< the kernel refuses a user namespace
    no_subordinate_ids,   ///< `detail`: the file
    no_map_helper,        ///< newuidmap or newgidmap is missing
    no_new_privs,         ///< so they would not work
    map_failed,           ///< `detail`: the helper or file that failed
    namespaces,           ///< the other namespaces
    private_mounts,
    proc,          ///< a new /proc may not be mounted: the old one is partly hidden
    processes,     ///< not even a process
    chroot_right,  ///< `detail`: the capability
    devices,       ///< device nodes cannot be made, or not opened, in the store
    not_wanted,    ///< `detail`: the option
  };
  Tier tier = Tier::root;
  Cause cause = Cause::not_root;
  int error_number = 0;  ///< 0: no system call failed
  std::string detail;
  /// One clause, such as "user namespaces cannot be created: operation not permitted".
  std::string text() const;
};

struct TierReport {
  Tier tier = Tier::none;
  oci::OverlayFlavour flavour = oci::OverlayFlavour::trusted;
  std::vector<Blocker> blockers;  ///< of the better tiers, in order; a tier may have several
};

enum class Isolation : std::uint8_t {
  automatic,
  full,    ///< T0 to T2 or nothing
  chroot,  ///< T3 or nothing
};

/// Whether this process could start a sandbox: namespaces, private mounts and a fresh /proc, tried in a child
/// that is thrown away and touches nothing of the caller's (SBX-6). Empty when it can, otherwise what failed
/// and why. There may be other threads: the child only makes system calls.
struct ProbeFailure {
  std::string what;
  int error_number = 0;
  Blocker::Cause cause = Blocker::Cause::namespaces;
  bool failed() const noexcept { return !what.empty(); }
};
/// Whether an error says that something is short just now rather than what this machine can do. A worse tier
/// or snapshotter is never taken because of it: the next build would have another one.
bool is_passing(int error_number) noexcept;
struct NamespaceProbe {
  bool new_user = false;          ///< begin with a user namespace
  bool shared_processes = false;  ///< without a namespace for processes, and so without a new /proc
};
ProbeFailure probe_namespaces(const NamespaceProbe& probe = {});

/// Whether this process could change the root of commands in `store` and give them devices (RLS-19).
std::optional<Blocker> probe_chroot(const StoreDir& store);

/// Whether the file system of `store` can carry overlays with their marks (OVL-30, OVL-50, OVL-51).
/// Throws SystemError where the store has no room or something else is short.
/// Nothing is attached anywhere; a directory is made in it and removed.
ProbeFailure probe_overlay(const StoreDir& store, oci::OverlayFlavour flavour);
/// The same with fuse-overlayfs, which is started for it, in place of the kernel's overlays (OVL-42).
ProbeFailure probe_fuse(const StoreDir& store, const FuseProgram& program, oci::OverlayFlavour flavour);

}  // namespace imgbuild::builder
