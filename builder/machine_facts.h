#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace imgbuild::builder {

/// What is worth knowing about a machine to say how a better tier could be had. Never decides anything: tiers
/// are tried, not guessed (RLS-21).
struct MachineFacts {
  std::uint32_t uid = 0;
  std::string user;       ///< empty: the uid has no name
  std::string kernel;     ///< release
  std::string container;  ///< "docker", "podman", "kubernetes", "container", or empty
  std::string security;   ///< security modules, as the kernel lists them
  bool seccomp = false;   ///< a system call filter is active
  bool no_new_privs = false;
  std::string max_user_namespaces;  ///< of the sysctls; empty: there is none
  std::string unprivileged_userns_clone;
  std::string apparmor_restrict_userns;
  std::string store_path;
  std::string store_file_system;  ///< "ext2/ext3/ext4", "overlay", "tmpfs", …
  std::string cgroup;             ///< which limits could be set, in words
};

/// Reads them. Call it before a user namespace is entered. Never throws: what cannot be read stays empty.
MachineFacts read_machine_facts() noexcept;

/// The name of the file system `fd` lies on.
std::string file_system_name(int fd);

/// "docker"…, from the environment and the marks the tools leave.
std::string container_name(bool has_dockerenv, bool has_containerenv, std::string_view container_variable,
                           bool has_kubernetes_variable);

}  // namespace imgbuild::builder
