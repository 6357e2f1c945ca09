#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "builder/spool.h"
#include "oci/layer_entry.h"

namespace imgbuild::builder {

/// A member of an archive, as it was written there.
struct ArchiveMember {
  std::string path;  ///< raw, not clean, not to be trusted
  oci::FileAttributes attributes;
  std::optional<std::string> link_to;  ///< a hard link to this member path
  oci::ContentOpener open;             ///< regular files with bytes
};

/// The members of the archive `open` gives, in its order, or nothing when it is no archive in the sense of
/// ADD-1: plain tar, or tar in gzip, bzip2, xz or zstd, told by the content. Contents are unpacked to
/// `spool`. `name` is for errors. Throws Error "unexpected EOF" for a truncated one (ADD-7), IntegrityError
/// for a broken one or one beyond the limits for layers.
std::optional<std::vector<ArchiveMember>> read_archive(const oci::ContentOpener& open, std::string_view name,
                                                       Spool& spool);

/// When the newest file of the archive `open` gives was changed, seconds since 1970; contents are passed
/// over. Nothing when it is no archive, holds no file or breaks off. Throws IntegrityError beyond the limits
/// for layers.
std::optional<std::int64_t> newest_file_time(const oci::ContentOpener& open, std::string_view name);

}  // namespace imgbuild::builder
