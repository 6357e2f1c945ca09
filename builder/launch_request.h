#pragma once

#include <linux/filter.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "builder/sandbox.h"
#include "builder/sandbox_protocol.h"

namespace imgbuild::builder {

/// Collects what the launcher is to do with one command and lays it out as a LaunchRequest in memory.
class LaunchRequestBuilder {
 public:
  LaunchRequestBuilder();

  launch::LaunchRequest& fields() noexcept { return request_; }
  std::uint32_t add_string(std::string_view text);
  void add_mount(const launch::LaunchMount& mount) { mounts_.push_back(mount); }
  void set_command(const SandboxSpec& spec);
  /// `joins`: indexes of descriptors, see LaunchRequest::cgroups.
  void set_cgroups(std::vector<std::uint32_t> joins) { cgroups_ = std::move(joins); }
  /// A mask of processors, bit by bit; empty: those of the builder.
  void set_processors(std::vector<std::uint8_t> mask) { processors_ = std::move(mask); }
  /// `filter` must outlive this object.
  void set_filter(std::span<const sock_filter> filter) noexcept { filter_ = filter; }

  /// A sealed file in memory with the whole request. Throws SystemError.
  UniqueFd finish();

 private:
  std::vector<std::uint32_t> add_strings(const std::vector<std::string>& texts);
  template <typename Items>
  launch::Range append(const Items& items);

  launch::LaunchRequest request_;
  std::string bytes_;
  std::vector<launch::LaunchMount> mounts_;
  std::span<const sock_filter> filter_;
  std::vector<launch::LaunchLimit> limits_;
  std::vector<std::uint8_t> processors_;
  std::vector<std::uint32_t> cgroups_, groups_, argv_, env_, programs_;
};

/// The RLIMIT_* number of a limit by Docker's name. Throws Error for a name that is none.
std::uint32_t ulimit_resource(const std::string& name);

/// The files to try for `command`, in order: itself when it has a slash, else one for each directory of PATH
/// in `env`.
std::vector<std::string> program_candidates(const std::string& command, const std::vector<std::string>& env);

}  // namespace imgbuild::builder
