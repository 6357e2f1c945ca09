#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace imgbuild::builder {

/// A directory in a control group file system, and the top of what is visible of it.
struct CgroupPlace {
  std::string own;    ///< of the group this process is in
  std::string mount;  ///< where the file system is mounted; `own` is it or lies below
};

/// Where this process is in the control group hierarchies it can see.
struct CgroupPaths {
  std::optional<CgroupPlace> unified;     ///< version 2
  std::map<std::string, CgroupPlace> v1;  ///< by controller
};

/// A path as mountinfo writes it, where blanks and backslashes stand as octal numbers.
std::string unescape_mount_path(std::string_view text);

/// From the texts of /proc/self/mountinfo and /proc/self/cgroup. Hierarchies that are not mounted, or whose
/// mount does not show our own group, are left out.
CgroupPaths parse_cgroup_paths(std::string_view mountinfo, std::string_view own_groups);

/// The same of this process. Throws SystemError when /proc cannot be read.
CgroupPaths read_cgroup_paths();

}  // namespace imgbuild::builder
