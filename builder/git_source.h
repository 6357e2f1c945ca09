#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "builder/git_command.h"
#include "parser/git_reference.h"

namespace imgbuild::builder {

struct GitFetchOptions {
  GitProgram program;
  std::string work_directory;        ///< absolute; a private directory is made in it
  std::string work_prefix = "git-";  ///< how its name begins
  bool keep_git_dir = false;
  std::string checksum;  ///< commit id or its beginning; empty: not checked (ADD-46)
  /// The Authorization value for an http(s) remote's host; empty: none (ADD-48).
  std::function<std::string(const std::string& host)> authorization;
};

/// A checkout in a private directory, removed with this object.
struct GitCheckout {
  TempDir directory;
  UniqueFd tree;                 ///< O_PATH of the repository's root or the wanted sub-directory
  std::string commit;            ///< full id
  std::int64_t commit_time = 0;  ///< of the committer, seconds since 1970
};

/// Fetches one commit and checks it out (ADD-40…48, NET-22…25). What the tree holds is hostile: read it by
/// descriptors and never through links. Throws Error with git's own words made safe, SystemError, Cancelled.
GitCheckout fetch_git(const parser::GitReference& reference, const GitFetchOptions& options,
                      std::stop_token stop);

/// Throws Error unless git may be given this remote (NET-23).
void check_git_remote(const std::string& remote);
/// Throws Error unless `ref` is a plain name of a branch, tag or commit (NET-23).
void check_git_ref(const std::string& ref);

}  // namespace imgbuild::builder
