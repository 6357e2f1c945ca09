#pragma once

#include <string>
#include <vector>

#include "builder/cgroup_files.h"
#include "builder/cgroup_paths.h"

namespace imgbuild::builder {

/// The directory of the version 2 hierarchy in which groups with these controllers can be made (SBX-101).
///
/// That is our own group when nothing but this process is in it: it then moves into a group of its own below,
/// since a group with controllers for others may hold no process. It may also be a group further up that
/// hands the controllers on already, unless a group between limits what we are in: nobody escapes a limit
/// this way.
class CgroupBase {
 public:
  struct Found {
    std::string directory;  ///< empty: none
    std::string obstacle;   ///< why none: the end of a sentence
  };
  CgroupBase(CgroupFiles& files, const CgroupPlace& place) : files_(files), place_(place) {}
  /// Leaves the group it moved this process into, if it did.
  ~CgroupBase();
  CgroupBase(const CgroupBase&) = delete;
  CgroupBase& operator=(const CgroupBase&) = delete;

  Found find(const std::vector<std::string>& controllers);

 private:
  bool enable(const std::string& directory, const std::vector<std::string>& controllers);
  bool is_alone();
  bool move_aside();
  void move_back() noexcept;

  CgroupFiles& files_;
  const CgroupPlace place_;
  std::string leaf_;                  ///< where this process is now; empty: where it was
  std::vector<std::string> enabled_;  ///< controllers we switched on in our own group
};

}  // namespace imgbuild::builder
