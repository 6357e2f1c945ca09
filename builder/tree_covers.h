#pragma once

#include <string>
#include <vector>

#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "builder/mount_stubs.h"
#include "builder/sandbox.h"

namespace imgbuild::builder {

/// What a sandbox without mounts puts into the root of a RUN in their place, and takes out again: what stood
/// there is moved aside for that time, so that neither shows in the layer (RLS-19, SBX-54). Directories from
/// outside are moved in and back; they have to be on the file system of the root. Nothing of this is
/// read-only, and nothing hides it from a command with root's rights. Not thread-safe.
class TreeCovers {
 public:
  struct Options {
    bool allow_secrets = false;  ///< even where the root is on a disk
  };
  /// `root` is a directory nobody else uses; borrowed. `scratch_dir` is on the same file system.
  TreeCovers(int root, int scratch_dir, const Options& options);
  /// Takes everything out again.
  ~TreeCovers();
  TreeCovers(const TreeCovers&) = delete;
  TreeCovers& operator=(const TreeCovers&) = delete;

  /// Everything SandboxSpec asks for: /dev with its devices, empty /proc and /sys, resolv.conf, hosts,
  /// mounts. Throws Error, SystemError, UnsupportedError for a secret that would reach a disk; destroy it
  /// then.
  void add_all(const SandboxSpec& spec);
  /// Takes everything out again. No process may be active in the root. Content that came from outside goes
  /// back. Throws SystemError when something could not be restored.
  void remove_all();
  /// Leaves everything as it is: a process that cannot be killed may use it.
  void leave() noexcept;

 private:
  struct Cover {
    UniqueFd parent;
    std::string name;
    std::string aside;      ///< name in aside_ of what stood there
    UniqueFd give_back_to;  ///< a directory that gets its content back
  };
  /// Moves away what is at `path` and remembers it. Returns the parent and name to put something at.
  Cover& begin(const std::string& path, bool as_directory, bool cover_link);
  UniqueFd put_directory(const std::string& path, std::uint32_t mode);
  void put_file(const std::string& path, std::string_view content, std::uint32_t mode, std::uint32_t uid,
                std::uint32_t gid, bool cover_link);
  void put_devices();
  void put_mount(const SandboxMount& mount);
  void put_device(const std::string& target, int source);
  void put_bind(const std::string& target, int source, bool give_back);
  void remove(Cover& cover);

  int root_;
  const Options options_;
  TempDir aside_;
  MountStubs stubs_;
  std::vector<Cover> covers_;
};

}  // namespace imgbuild::builder
