#pragma once

#include <cstdint>

/// What LinuxSandbox and the launcher say to each other. Both are built from this header and belong to one
/// binary, so there is no versioning beyond the magic numbers. Plain data only: the launcher has no C++
/// runtime.
///
/// A launch is one SEQPACKET message, LaunchMessage, with descriptors attached: those of LaunchFd in that
/// order, then one per LaunchMount with its own mount. The request itself is the memfd LaunchFd::request: a
/// LaunchRequest followed by everything its offsets point at. Answers come on LaunchFd::reply.
namespace imgbuild::launch {

constexpr std::uint32_t kMessageMagic = 0x696d6762;
constexpr std::uint32_t kRequestMagic = 0x696d6772;
constexpr int kControlFd = 3;
constexpr int kExitNotLauncher = 125;
constexpr std::uint32_t kNone = 0xffffffffu;
constexpr int kMaxFds = 250;  ///< the kernel takes 253 per message

struct LaunchMessage {
  std::uint32_t magic = kMessageMagic;
  std::uint32_t fd_count = 0;
};

enum LaunchFd : int {
  fd_request,
  fd_reply,
  fd_report,
  fd_stdin,
  fd_stdout,
  fd_stderr,
  fd_root,
  fd_context,
  fd_null,
  fd_zero,
  fd_full,
  fd_random,
  fd_urandom,
  fd_tty,  // detached mounts of the host's devices
  fd_first_mount,
};

/// A mount the parent prepared, or a file of the context tmpfs.
struct LaunchMount {
  std::uint32_t fd = kNone;      ///< index among the descriptors; kNone: the file `source` of the context
  std::uint32_t source = kNone;  ///< string: name in the context tmpfs
  std::uint32_t target = 0;      ///< string: relative to the root, canonical as far as the image goes
  std::uint32_t is_file = 0;     ///< what to create when there is no target
  std::uint32_t on_link = 0;     ///< the target is a link; cover the link itself (SBX-54)
  std::uint32_t attributes = 0;  ///< MOUNT_ATTR_*, added before it is attached
  std::uint32_t inner = kNone;   ///< string: what of the mount to attach (MNT-26); kNone: its root
};

/// A resource limit of the command.
struct LaunchLimit {
  std::uint32_t resource = 0;  ///< RLIMIT_*
  std::uint32_t name = 0;      ///< string, for messages
  std::uint64_t soft = 0, hard = 0;
};

struct Range {
  std::uint32_t offset = 0;  ///< from the start of the request
  std::uint32_t count = 0;   ///< elements
};

/// Strings are offsets of NUL-terminated bytes.
struct LaunchRequest {
  std::uint32_t magic = kRequestMagic;
  std::uint32_t size = 0;
  std::uint32_t uid = 0, gid = 0;
  Range groups;                   ///< uint32
  Range argv, env;                ///< uint32 offsets of strings
  Range programs;                 ///< the same: files to try to execute, in order (the search along PATH)
  Range mounts;                   ///< LaunchMount
  Range limits;                   ///< LaunchLimit
  Range filter;                   ///< sock_filter; empty: none
  Range cgroups;                  ///< uint32 indexes of descriptors: cgroup.procs files to join by
  std::uint32_t hostname = 0;     ///< string
  std::uint32_t working_dir = 0;  ///< string, absolute
  std::uint32_t new_network = 0;
  std::uint32_t network = kNone;  ///< index among the descriptors: the network namespace to join
  std::uint32_t insecure = 0;
  std::uint32_t root_attributes = 0;  ///< MOUNT_ATTR_* of the overlay and every writable mount (SBX-60)
  std::uint32_t tty_gid = 0;          ///< kNone: group 5 is not mapped here
  std::uint32_t cgroup_dir = kNone;   ///< index of a descriptor: the version 2 group to be born in
  std::uint32_t shared_processes =
      0;                          ///< no process namespace: a keeper ends what the command started (SBX-87)
  std::uint32_t chroot_only = 0;  ///< no namespaces and no mounts at all: fd_root is a directory (RLS-19)
  std::uint32_t no_groups = 0;    ///< supplementary groups cannot be set here (RLS-11)
  std::uint32_t label_file =
      kNone;                    ///< string: file below /proc/thread-self that takes `label`; kNone: no label
  std::uint32_t label = kNone;  ///< string: AppArmor profile of the command (SBX-98)
  std::uint32_t report_memory = 0;  ///< tell about each tmpfs of the command's own (PrivateMemory)
  Range processors;                 ///< bytes of a mask, as sched_setaffinity takes it; empty: as they are
  std::uint64_t shm_size = 0;
  std::uint64_t capabilities = 0;  ///< bounding, and permitted and effective for root (SBX-72)
};

enum class Stage : std::uint32_t {
  none,
  receive,
  clone,
  propagation,
  attach_root,
  proc,
  sys,
  dev,
  dev_pts,
  dev_shm,
  device,
  context,
  mount_target,
  mount,
  pivot_root,
  change_root,
  detach_old_root,
  read_only_paths,
  mask_paths,
  hostname,
  network,
  join_network,
  session,
  seccomp,
  capabilities,
  limits,
  identity,
  working_dir,
  working_dir_outside,
  execute,
  launcher_gone,
  cgroup,
  label,
};

/// Written by the child on fd_report before it gives up. The pipe just closes when the command was executed.
struct Failure {
  Stage stage = Stage::none;
  std::int32_t error_number = 0;
  char path[240] = {};
};

/// First answer; the pidfd is attached when `error_number` is 0.
struct Started {
  std::uint32_t magic = kMessageMagic;
  std::int32_t error_number = 0;
};

/// May come before or after the first answer: a tmpfs that nobody else uses, whose descriptor is attached.
struct PrivateMemory {
  std::uint32_t magic = kMessageMagic;
  std::uint32_t reserved[3] = {};
};

/// Last answer: the process and all of its namespace are gone.
struct Ended {
  std::uint32_t magic = kMessageMagic;
  std::int32_t exit_code = 0;  ///< meaningful when `signal` is 0
  std::int32_t signal = 0;
  std::uint32_t reserved = 0;
  std::uint64_t cpu_nanoseconds = 0;
  std::uint64_t peak_memory_bytes = 0;
};

// Answers are told apart by their sizes.
static_assert(sizeof(Started) < sizeof(PrivateMemory) && sizeof(PrivateMemory) < sizeof(Ended));

}  // namespace imgbuild::launch
