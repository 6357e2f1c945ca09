#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/stream.h"
#include "oci/tar_format.h"

/// Image archives put together by hand, well-formed tars with any content.
namespace imgbuild::tests {

struct ArchiveMember {
  std::string path;
  std::string content;  ///< a link's target for links
  char type = '0';
};

inline std::string make_archive(const std::vector<ArchiveMember>& members) {
  std::string out;
  for (const auto& member : members) {
    const bool is_link = member.type == '1' || member.type == '2';
    oci::tar::Block block{};
    oci::tar::put_text(block, oci::tar::kName, member.path);
    oci::tar::put_octal(block, oci::tar::kMode, 0644);
    oci::tar::put_octal(block, oci::tar::kSize, is_link ? 0 : member.content.size());
    oci::tar::put_octal(block, oci::tar::kUid, 0);
    oci::tar::put_octal(block, oci::tar::kGid, 0);
    oci::tar::put_octal(block, oci::tar::kMtime, 0);
    if (is_link) oci::tar::put_text(block, oci::tar::kLinkName, member.content);
    block[oci::tar::kTypeFlag.offset] = member.type;
    oci::tar::put_text(block, oci::tar::kMagic, oci::tar::kUstarMagic);
    oci::tar::put_text(block, oci::tar::kVersion, "00");
    oci::tar::seal(block);
    out.append(block.data(), block.size());
    if (is_link) continue;
    out += member.content;
    out.append(static_cast<std::size_t>(oci::tar::padding(member.content.size())), '\0');
  }
  return out.append(1024, '\0');
}

}  // namespace imgbuild::tests
