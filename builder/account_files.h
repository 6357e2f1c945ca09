#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "builder/content_provider.h"
#include "oci/file_tree.h"

namespace imgbuild::builder {

struct PasswdEntry {
  std::string name;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::string home;
};

struct GroupEntry {
  std::string name;
  std::uint32_t gid = 0;
  std::vector<std::string> members;
};

/// The text of `path` in `tree`, links followed inside it; nothing when there is no such regular file. Throws
/// Error above 10 MiB (SBX-70).
std::optional<std::string> read_account_file(const oci::FileTree& tree, ContentProvider& content,
                                             std::string_view path);

/// Lines that are no entries (blank, comments, over 64 KiB, numbers that are none) are skipped (SBX-70).
std::vector<PasswdEntry> parse_passwd(std::string_view text);
std::vector<GroupEntry> parse_group(std::string_view text);

}  // namespace imgbuild::builder
