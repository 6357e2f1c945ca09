#include "base/temp_dir.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>

#include "base/error.h"
#include "base/root_dir.h"
#include "base/strings.h"

namespace imgbuild {

std::string random_name() {
  std::array<char, 8> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw SystemError(errno, "getrandom");
  }
  return to_hex({bytes.data(), bytes.size()});
}

TempDir::TempDir(UniqueFd parent, std::string name, UniqueFd dir) noexcept
    : parent_(std::move(parent)), name_(std::move(name)), dir_(std::move(dir)) {}

TempDir TempDir::create(int parent, const std::string& prefix) {
  UniqueFd parent_copy = open_at(parent, ".", O_RDONLY | O_DIRECTORY);
  const std::string name = prefix + random_name();
  if (::mkdirat(parent, name.c_str(), 0700) != 0) throw SystemError(errno, "create directory", name);
  UniqueFd dir = open_at(parent, name, O_RDONLY | O_DIRECTORY);
  return TempDir(std::move(parent_copy), name, std::move(dir));
}

TempDir TempDir::create(const std::string& parent, const std::string& prefix) {
  const UniqueFd dir = open_path(parent, O_RDONLY | O_DIRECTORY);
  return create(dir.get(), prefix);
}

TempDir::TempDir(TempDir&& other) noexcept
    : parent_(std::move(other.parent_)), name_(std::exchange(other.name_, {})), dir_(std::move(other.dir_)) {}

TempDir& TempDir::operator=(TempDir&& other) noexcept {
  if (this != &other) {
    remove();
    parent_ = std::move(other.parent_);
    name_ = std::exchange(other.name_, {});
    dir_ = std::move(other.dir_);
  }
  return *this;
}

TempDir::~TempDir() { remove(); }

void TempDir::remove() noexcept {
  if (name_.empty()) return;
  try {
    remove_tree_at(parent_.get(), name_);
  } catch (const Error&) {
    // Nothing to report to: the store's sweep at the next start takes what stays.
  }
  name_.clear();
}

}  // namespace imgbuild
