#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "builder/diff.h"

namespace imgbuild::builder {

/// The names in one directory of an upper directory, by their bytes, and which of them stand for something
/// deleted. A value; keeps all names in one piece of memory.
class UpperNames {
 public:
  /// Reads the names of the open directory `dir` from where it stands. `path` is its path, empty or with a
  /// slash at the end. What fuse-overlayfs left among them is translated, and noted in `marks` (OVL-40).
  /// Throws SystemError.
  static UpperNames read(int dir, const std::string& path, const DiffOptions& options,
                         std::vector<FuseMarks>& marks);

  std::size_t size() const noexcept { return names_.size(); }
  const char* at(std::size_t i) const noexcept { return text_.data() + names_[i].offset; }
  /// The name is that of something deleted: a whiteout, never in a whole tree.
  bool gone(std::size_t i) const noexcept { return names_[i].gone; }
  /// False if it is not known as well.
  bool is_directory(std::size_t i) const noexcept;
  /// Whether there is something of this name that is not gone.
  bool has(std::string_view name) const noexcept;

 private:
  struct Name {
    std::uint64_t key = 0;  ///< the first bytes, which order most names
    std::size_t offset = 0;
    unsigned char type = 0;  ///< as dirent has it
    bool gone = false;
  };

  void add(std::string_view name, unsigned char type, bool gone);
  void sort();
  std::optional<std::size_t> find(std::string_view name) const noexcept;
  void take_fuse_name(int dir, const std::string& path, std::size_t i, FuseMarks& marks,
                      std::vector<bool>& dropped);
  void translate_fuse_names(int dir, const std::string& path, std::vector<FuseMarks>& marks);

  std::string text_;  ///< each with a zero behind it
  std::vector<Name> names_;
};

}  // namespace imgbuild::builder
