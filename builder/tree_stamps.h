#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace imgbuild::builder {

/// When each inode of a tree was changed last, to find out later what changed since (OVL-29). A command can
/// set every other time, but not this one. Not thread-safe.
class TreeStamps {
 public:
  /// Files that change from now on get a later time than now; what already has it, and what changes before
  /// the clock's next tick, cannot be told apart and counts as changed.
  TreeStamps();

  void add(const std::string& path, const struct stat& info);
  /// Whether the clock has only gone forward since. When it has not, unchanged() means nothing.
  bool clock_held() const;
  /// Whether `info` is the same inode as the one added for `path` and was not changed since.
  bool unchanged(const std::string& path, const struct stat& info) const;
  /// The inode is the one that was added for `path`, changed or not.
  bool same_inode(const std::string& path, const struct stat& info) const;

  std::size_t size() const noexcept { return stamps_.size(); }

 private:
  struct Stamp {
    std::uint64_t inode = 0;
    timespec changed{};
  };
  std::unordered_map<std::string, Stamp> stamps_;
  timespec taken_{};           ///< by the coarse clock, from which file systems take their times
  std::int64_t clock_offset_;  ///< of the clock against one that never goes back
};

/// The stamps of everything below the directory `root`. Throws SystemError.
TreeStamps stamp_tree(int root);

}  // namespace imgbuild::builder
