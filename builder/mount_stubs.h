#pragma once

#include <sys/stat.h>

#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace imgbuild::builder {

/// The mount points a RUN needs in its root file system. Those that are missing are made, and taken away
/// again after the RUN so that no layer shows them (SBX-44, SBX-54, MNT-21, CFG-43). Not thread-safe.
class MountStubs {
 public:
  /// `root` is the mounted overlay, not used by anybody else yet; `upper` its upper directory. Borrowed.
  /// `of_fuse`: fuse-overlayfs serves it, and leaves marks in every directory it makes.
  MountStubs(int root, int upper, bool of_fuse = false) : root_(root), upper_(upper), of_fuse_(of_fuse) {}

  struct Place {
    std::string path;  ///< relative to the root, without links; "" is the root
    bool is_directory = false;
    bool on_link = false;  ///< the last component is a link and was not followed
    bool created = false;
  };
  /// Where `path` leads inside the root; what is missing is made: directories 0755, a last file 0644, both of
  /// root. `cover_link` stops at a link in the last component. Below one of the places in `covered` nothing
  /// is made, because something else will be mounted there. Throws Error when the place is of the wrong type.
  Place ensure(const std::string& path, bool as_directory, bool cover_link,
               const std::vector<std::string>& covered);
  /// Where `path` leads; nothing is made. Throws SystemError(ENOENT) when it does not exist.
  Place find(const std::string& path);
  /// /proc, /sys or /dev: a real directory, else Error (SBX-41).
  void ensure_real_directory(const std::string& name);

  /// Takes away what ensure() made, where it is still as it was. Never follows a link of the command's
  /// (ATK-32). Throws SystemError when that cannot be done: the layer would show what is no part of it.
  void clean();

 private:
  struct Stub {
    std::vector<std::string> parent;  ///< components
    std::string name;
    struct stat made {};  ///< in the upper directory
  };
  struct Walk;
  enum class Missing { create_file, create_directory, fail };
  Place walk_to(const std::string& path, Missing missing, bool cover_link,
                const std::vector<std::string>& covered);
  void create(const std::vector<std::string>& parent, const std::string& name, bool directory);
  UniqueFd open_upper(const std::vector<std::string>& components) const;
  void clean(const Stub& stub) const;

  int root_, upper_;
  bool of_fuse_;
  std::vector<Stub> stubs_;
};

}  // namespace imgbuild::builder
