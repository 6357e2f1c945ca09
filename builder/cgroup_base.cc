#include "builder/cgroup_base.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"

namespace imgbuild::builder {

namespace {

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  for (const auto line : split(text, '\n'))
    for (const auto word : split(line, ' '))
      if (!word.empty()) out.emplace_back(word);
  return out;
}

std::vector<std::string> words_of(CgroupFiles& files, const std::string& path) {
  return words(files.read(path).value_or(""));
}

std::vector<std::string> missing(const std::vector<std::string>& wanted,
                                 const std::vector<std::string>& present) {
  std::vector<std::string> out;
  for (const auto& word : wanted)
    if (std::find(present.begin(), present.end(), word) == present.end()) out.push_back(word);
  return out;
}

/// Whether somebody limited what is in this group.
bool is_limited(CgroupFiles& files, const std::string& directory) {
  for (const char* file : {"memory.max", "memory.swap.max", "pids.max", "cpu.max"}) {
    const auto value = files.read(cat(directory, "/", file));
    if (value && !value->starts_with("max")) return true;
  }
  for (const char* file : {"cpuset.cpus", "cpuset.mems"}) {
    const auto value = files.read(cat(directory, "/", file));
    if (value && !trim(*value).empty()) return true;
  }
  return false;
}

}  // namespace

CgroupBase::~CgroupBase() { move_back(); }

CgroupBase::Found CgroupBase::find(const std::vector<std::string>& controllers) {
  std::string directory = place_.own;
  std::string obstacle;
  const auto keep = [&](std::string text) {  // the nearest group's is what the user can do something about
    if (obstacle.empty()) obstacle = std::move(text);
  };
  for (;;) {
    const auto lacking = missing(controllers, words_of(files_, directory + "/cgroup.controllers"));
    if (!lacking.empty()) {
      keep(cat("the group ", directory, " is not given the controller ", join(lacking, ", ")));
    } else if (!files_.is_writable(directory)) {
      keep(cat("the group ", directory, " belongs to somebody else"));
    } else if (missing(controllers, words_of(files_, directory + "/cgroup.subtree_control")).empty()) {
      return {directory, ""};
    } else if (directory == place_.own && enable(directory, controllers)) {
      return {directory, ""};
    } else {
      keep(cat("other processes are in the group ", directory));
    }
    if (directory == place_.mount || directory.size() <= place_.mount.size()) return {"", obstacle};
    if (is_limited(files_, directory)) return {"", cat(obstacle, ", which is limited itself")};
    directory.erase(directory.rfind('/'));
  }
}

bool CgroupBase::enable(const std::string& directory, const std::vector<std::string>& controllers) {
  std::string change;
  for (const auto& controller : controllers) change += cat(change.empty() ? "+" : " +", controller);
  const std::string file = directory + "/cgroup.subtree_control";
  int failed = files_.write(file, change);
  if (failed == EBUSY && is_alone() && move_aside()) failed = files_.write(file, change);
  if (failed != 0) {
    if (enabled_.empty()) move_back();
    return false;
  }
  for (const auto& controller : missing(controllers, enabled_)) enabled_.push_back(controller);
  return true;
}

bool CgroupBase::is_alone() {
  return words_of(files_, place_.own + "/cgroup.procs") == std::vector<std::string>{cat(::getpid())};
}

bool CgroupBase::move_aside() {
  const std::string leaf = cat(place_.own, "/imgbuild-", random_name(), "-self");
  if (files_.make_dir(leaf) != 0) return false;
  if (files_.write(leaf + "/cgroup.procs", cat(::getpid())) != 0) {
    files_.remove_dir(leaf);
    return false;
  }
  leaf_ = leaf;
  return true;
}

void CgroupBase::move_back() noexcept {
  try {
    std::string change;
    for (const auto& controller : enabled_) change += cat(change.empty() ? "-" : " -", controller);
    if (!change.empty()) files_.write(place_.own + "/cgroup.subtree_control", change);
    enabled_.clear();
    if (leaf_.empty()) return;
    if (files_.write(place_.own + "/cgroup.procs", cat(::getpid())) == 0) files_.remove_dir(leaf_);
    leaf_.clear();
  } catch (const std::bad_alloc&) {
    // The group stays with the process in it and goes with the scope it is in.
  }
}

}  // namespace imgbuild::builder
