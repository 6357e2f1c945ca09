#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/timestamp.h"
#include "oci/tar_sparse.h"

namespace imgbuild::oci::tar {

/// What a PAX header says about the file that follows. Records we have no use for are dropped.
struct PaxValues {
  std::optional<std::string> path;
  std::optional<std::string> link_path;
  std::optional<std::uint64_t> size;
  std::optional<std::uint32_t> uid;
  std::optional<std::uint32_t> gid;
  std::optional<Timestamp> mtime;
  std::map<std::string, std::string> xattrs;

  // GNU sparse files: 0.0 repeats offsets and sizes, 0.1 has one text, 1.0 keeps the map with the data.
  bool sparse = false;
  bool sparse_map_in_data = false;
  std::optional<std::string> sparse_name;
  std::optional<std::uint64_t> sparse_real_size;
  SparseMap sparse_map;
};

/// Parses the header of one file (FS-33): a repeated key counts once, with its last value; an empty value
/// takes back what came before. Throws IntegrityError.
PaxValues parse_pax(std::string_view text);

/// Checks a header meant for all files that follow: it may say nothing that changes them. Throws
/// IntegrityError.
void check_global_pax(std::string_view text);

/// User and group numbers: 0…2^32-2 (FS-31). Throws IntegrityError.
std::uint32_t checked_id(std::int64_t number);

}  // namespace imgbuild::oci::tar
