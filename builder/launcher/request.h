#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "builder/sandbox_protocol.h"

namespace imgbuild::launch {

/// A launch as the launcher received it: the mapped request and the descriptors that came with it. The parent
/// is trusted, but offsets are checked all the same when the request arrives. No ownership: the process forks
/// or exits.
struct Launch {
  const char* bytes = nullptr;  ///< the mapped memfd
  std::uint64_t size = 0;
  const LaunchRequest* request = nullptr;
  int fds[kMaxFds] = {};
  int fd_count = 0;

  const char* string(std::uint32_t offset) const { return bytes + offset; }
  template <typename T>
  const T* array(const Range& range) const {
    return reinterpret_cast<const T*>(bytes + range.offset);
  }
};

/// How a child sees that the launcher lives: `watch` gets readable or hung up when it is gone.
struct Alive {
  int watch = -1;
  int held = -1;  ///< the launcher's end, which children must close; -1: none
};

/// Sets up everything around the command in the new namespaces, then becomes it. Reports why it could not on
/// LaunchFd::fd_report.
[[noreturn]] void run_child(const Launch& launch, const Alive& launcher);

/// main.cc: starts the child of a launch in its namespaces; like fork() otherwise.
pid_t clone_child(const Launch& launch, int& pidfd);
/// main.cc: sends an answer, with a descriptor unless it is negative.
void send_answer(int reply, const void* answer, std::size_t size, int fd);
/// main.cc: tells the builder that the command was started, or why not.
void send_started(int reply, int error_number, int pidfd);
/// keeper.cc: runs the command and stays until it and everything it started are gone, then ends as it did.
[[noreturn]] void keep(const Launch& launch, const Alive& launcher);
/// keeper.cc: kills children of the launcher that are none of its own: those a keeper lost when it was
/// killed.
void kill_strays(const pid_t* known, int count);

/// Reports the failure of `stage` with the current errno and leaves.
[[noreturn]] void give_up(const Launch& launch, Stage stage, const char* path);

/// child_paths.cc: openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, and RESOLVE_IN_ROOT. Without that
/// call paths are walked name by name, and the second follows no links either: what is asked of it is
/// canonical (FS-3).
int open_beneath(int dir, const char* path, int flags);
int open_in_root(int dir, const char* path, int flags);
/// Of a path in our own root, following links but no magic ones.
int open_no_magic(const char* path, int flags);

/// child_mounts.cc: makes the new root, with everything attached, the root of this mount namespace.
void enter_root(const Launch& launch);
/// The same without mounts and namespaces: the root becomes that of this process only.
void enter_chroot(const Launch& launch);
/// child_identity.cc: control groups, host name, session, limits, filter, capabilities and ids.
void join_cgroups(const Launch& launch);
void set_up_session(const Launch& launch);
void set_ulimits(const Launch& launch);
void set_processors(const Launch& launch);
void load_filter(const Launch& launch);
/// Asks for the profile the next program is to run under, and looks whether that was taken.
void set_label(const Launch& launch);
void become_user(const Launch& launch);

}  // namespace imgbuild::launch
