#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace imgbuild::parser {

/// A git source: remote plus what to take of it (ADD-40…47, CTX-1; cases/gitref.json).
struct GitReference {
  std::string remote;
  std::string ref;  ///< empty: the remote's default branch
  std::string subdir;
  std::string checksum;
  std::optional<bool> keep_git_dir;
  std::optional<bool> submodules;
  std::string mtime;  ///< "", "checkout" or "commit"
  bool fetch_by_commit = false;
  bool context_only = false;  ///< accepted as a build context, an ordinary path in ADD/COPY
  bool unencrypted = false;
};

/// Nothing when `text` is no git reference (a path or a plain URL). Throws SyntaxError (no range) when it
/// looks like one and is wrong.
std::optional<GitReference> parse_git_reference(std::string_view text);

}  // namespace imgbuild::parser
