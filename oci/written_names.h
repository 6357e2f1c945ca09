#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory_resource>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "base/timestamp.h"
#include "oci/layer_entry.h"

namespace imgbuild::oci {

/// The files and directories an archive has so far, with what later entries need to know of them. Nothing can
/// come twice as long as names come in the order of a layer, so until then they are only kept, and a table of
/// them is made when somebody asks. Not thread-safe.
class WrittenNames {
 public:
  struct Attributes {
    FileType type = FileType::regular;
    std::uint32_t mode = 0;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    Timestamp mtime;
  };

  WrittenNames() = default;
  WrittenNames(const WrittenNames&) = delete;  // what it holds points to what it holds
  WrittenNames& operator=(const WrittenNames&) = delete;

  /// False, and nothing is added, when the name is there already.
  bool add(std::string_view name, const Attributes& attributes);
  bool is_directory(std::string_view name) const { return directories_.contains(name); }
  /// Null when there is none. Valid as long as this object.
  const Attributes* find(std::string_view name);

 private:
  struct Entry {
    std::string_view name;
    Attributes attributes;
  };

  void make_table();

  std::pmr::monotonic_buffer_resource text_;
  std::deque<Entry> entries_;
  std::unordered_set<std::string_view> directories_;
  std::optional<std::unordered_map<std::string_view, const Entry*>> table_;
};

}  // namespace imgbuild::oci
