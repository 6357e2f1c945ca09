#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "builder/content_provider.h"
#include "oci/file_tree.h"

namespace imgbuild::builder {

/// Who a RUN command is.
struct UserIds {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t>
      extra_gids;    ///< for setgroups: the primary group first, then the others, none twice
  std::string home;  ///< of the passwd entry; empty without one
};

/// Resolves the text of USER for RUN in the tree the command will see (RUN-6, SBX-70): empty, `name`, `uid`,
/// `name:group`, `uid:gid` or mixed. Numbers are decimal, 0…4294967294; one that is in no file is fine, with
/// group 0. Throws Error for a name that is not found and for a number out of range.
UserIds resolve_user(std::string_view text, const oci::FileTree& tree, ContentProvider& content);

}  // namespace imgbuild::builder
