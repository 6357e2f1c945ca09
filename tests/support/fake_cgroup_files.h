#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <map>
#include <set>
#include <sstream>

#include "builder/cgroup_files.h"

namespace imgbuild::tests {

/// A version 2 hierarchy in memory that keeps the kernel's rules: a group has the files of the controllers
/// its parent hands on, a group with processes hands nothing on (the root may), and a busy group cannot be
/// removed.
class FakeCgroupFiles final : public builder::CgroupFiles {
 public:
  struct Group {
    std::set<std::string> controllers, handed_on, processes;
    std::map<std::string, std::string> files;
    bool writable = true;
  };

  /// The top, with these controllers; `is_root`: of the whole machine.
  FakeCgroupFiles(const std::string& top, std::set<std::string> controllers, bool is_root)
      : top_(top), is_root_(is_root) {
    groups[top].controllers = std::move(controllers);
  }
  /// A group made by others.
  Group& add(const std::string& path) {
    Group& group = groups[path];
    group.controllers = groups.at(parent(path)).handed_on;
    for (const auto& controller : group.controllers) add_files(group, controller);
    return group;
  }

  int make_dir(const std::string& path) override {
    if (groups.contains(path)) return EEXIST;
    if (!groups.contains(parent(path))) return ENOENT;
    if (!groups.at(parent(path)).writable) return EACCES;
    add(path);
    return 0;
  }
  int remove_dir(const std::string& path) override {
    if (!groups.contains(path)) return ENOENT;
    if (!groups[path].processes.empty() || !sub_dirs(path).empty()) return EBUSY;
    groups.erase(path);
    return 0;
  }
  int write(const std::string& path, const std::string& value) override {
    const auto directory = parent(path);
    const auto name = path.substr(directory.size() + 1);
    if (!groups.contains(directory)) return ENOENT;
    Group& group = groups[directory];
    if (!group.writable) return EACCES;
    if (name == "cgroup.procs") {
      if (!group.handed_on.empty() && !(is_root_ && directory == top_)) return EBUSY;
      for (auto& [_, other] : groups) other.processes.erase(value);
      group.processes.insert(value);
      return 0;
    }
    if (name == "cgroup.subtree_control") return hand_on(directory, group, value);
    if (!group.files.contains(name)) return ENOENT;
    group.files[name] = value;
    return 0;
  }
  std::optional<std::string> read(const std::string& path) override {
    const auto directory = parent(path);
    const auto name = path.substr(directory.size() + 1);
    if (!groups.contains(directory)) return std::nullopt;
    const Group& group = groups[directory];
    if (name == "cgroup.controllers") return joined(group.controllers, ' ');
    if (name == "cgroup.subtree_control") return joined(group.handed_on, ' ');
    if (name == "cgroup.procs") return joined(group.processes, '\n');
    const auto found = group.files.find(name);
    return found == group.files.end() ? std::nullopt : std::optional(found->second);
  }
  std::vector<std::string> sub_dirs(const std::string& path) override {
    std::vector<std::string> names;
    for (const auto& [name, _] : groups)
      if (name != path && parent(name) == path) names.push_back(name.substr(path.size() + 1));
    return names;
  }
  UniqueFd open(const std::string& path, int) override {
    opened.push_back(path);
    return UniqueFd(::memfd_create("group", MFD_CLOEXEC));  // something of its own to lock
  }
  bool is_writable(const std::string& dir) override { return groups.contains(dir) && groups[dir].writable; }

  std::map<std::string, Group> groups;
  std::vector<std::string> opened;

 private:
  static std::string parent(const std::string& path) { return path.substr(0, path.rfind('/')); }
  static std::string joined(const std::set<std::string>& words, char separator) {
    std::string out;
    for (const auto& word : words) out += word + separator;
    return out;
  }
  static void add_files(Group& group, const std::string& controller) {
    static const std::map<std::string, std::vector<std::string>> kFiles = {
        {"memory", {"memory.max", "memory.swap.max"}}, {"cpu", {"cpu.max"}}, {"pids", {"pids.max"}}};
    const auto files = kFiles.find(controller);
    if (files == kFiles.end()) return;
    for (const auto& file : files->second) group.files.emplace(file, "max");
  }
  int hand_on(const std::string& directory, Group& group, const std::string& change) {
    if (!group.processes.empty() && !(is_root_ && directory == top_)) return EBUSY;
    std::istringstream words(change);
    for (std::string word; words >> word;) {
      if (!group.controllers.contains(word.substr(1))) return ENOENT;
      if (word[0] == '+')
        group.handed_on.insert(word.substr(1));
      else
        group.handed_on.erase(word.substr(1));
    }
    return 0;
  }

  const std::string top_;
  const bool is_root_;
};

}  // namespace imgbuild::tests
