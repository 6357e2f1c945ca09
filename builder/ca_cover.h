#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>
#include <vector>

namespace imgbuild::builder {

/// The files that hold an image's trusted certificates: Debian and Alpine, RHEL and Fedora, openSUSE.
const std::vector<std::string>& ca_bundle_paths();

/// Adds certificates to the bundles an image has, for the time of one RUN, and takes them away again so that
/// no byte of them is in a layer. The files are changed in the RUN's own upper directory and not covered by
/// mounts: `update-ca-certificates` and package managers must be able to replace them. Not thread-safe.
class CaCover {
 public:
  /// `root`: the root of the RUN, not used by anybody yet; `upper`: its upper directory, or a plain copy that
  /// is the whole of it. Borrowed.
  enum class Kind { upper_directory, whole_tree };
  CaCover(int root, int upper, Kind kind = Kind::upper_directory)
      : root_(root), upper_(upper), whole_(kind == Kind::whole_tree) {}

  /// Appends `pem` to every bundle that exists. Links in the image are followed inside it. Throws
  /// SystemError.
  void add(const std::string& pem);
  /// After everything in the sandbox is gone: a bundle the command left alone is as before; out of one that
  /// it changed the certificates are cut. Throws SystemError; the upper directory must then be dropped.
  void remove();

 private:
  struct Cover {
    std::vector<std::string> parent;  ///< components, none of them a link
    std::string name;
    struct stat before {};  ///< as the image has it
    struct stat made {};    ///< in the upper directory
    struct stat parent_before {};
  };
  void add_to(const std::string& path);
  void remove_from(const Cover& cover) const;

  const int root_, upper_;
  const bool whole_;
  std::string added_;
  std::vector<Cover> covers_;
};

}  // namespace imgbuild::builder
