#include "oci/dir_stack.h"

#include <fcntl.h>

#include <algorithm>

namespace imgbuild::oci {

namespace {

bool is_below_or_same(std::string_view path, std::string_view directory) {
  return path.starts_with(directory) && (path.size() == directory.size() || path[directory.size()] == '/');
}

}  // namespace

int DirStack::enter(std::string_view path) {
  while (!open_.empty() && !is_below_or_same(path, open_.back().path)) open_.pop_back();
  while (!path.empty() && (open_.empty() || open_.back().path.size() < path.size())) {
    const std::size_t from = open_.empty() ? 0 : open_.back().path.size() + 1;
    const std::size_t end = std::min(path.find('/', from), path.size());
    const std::string name(path.substr(from, end - from));
    constexpr int kFlags = O_RDONLY | O_DIRECTORY;
    UniqueFd fd = open_at_if_exists(top(), name, kFlags);
    if (!fd) {
      ensure_dir_at(top(), name, 0700);
      fd = open_at(top(), name, kFlags);
    }
    open_.push_back({std::string(path.substr(0, end)), std::move(fd)});
  }
  return top();
}

}  // namespace imgbuild::oci
