#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "builder/diff.h"
#include "builder/overlay_xattr.h"
#include "builder/upper_compare.h"
#include "builder/upper_walk.h"

namespace imgbuild::builder {

/// What an entry of the upper directory has around it.
struct UpperPlace {
  int dir = -1;  ///< the directory it is in
  std::uint32_t depth = 0;
  const oci::FileNode* below = nullptr;  ///< what the lower layers have at the entry's own path
  bool parent_hides = false;             ///< nothing below the directory it is in shows through
};

/// A directory that was read as an entry and can be entered.
struct UpperInside {
  UniqueFd fd;
  const oci::FileNode* below = nullptr;  ///< the directory below it, if that is one
  bool hides = false;
};

/// Reads one name of an upper directory at a time. Not thread-safe: one for each thread.
class UpperEntryReader {
 public:
  /// `before`: stamps that can be trusted, or null; all are borrowed.
  UpperEntryReader(const std::shared_ptr<const RootDir>& upper, const DiffOptions& options,
                   const TreeStamps* before);

  /// Adds what `name`, at `path`, says to `out`, if anything. Returns the inside of a directory. For the
  /// errors see diff_upper().
  std::optional<UpperInside> read(const char* name, std::string path, const UpperPlace& place,
                                  UpperFinds& out);

 private:
  void refuse_what_no_layer_holds(const char* name, const std::string& path, const struct stat& info) const;
  void take_fuse_marks(const std::string& path, const struct stat& info, const oci::FileNode* below,
                       int inside, UpperXattrs& xattrs, UpperFinds& out) const;

  const std::shared_ptr<const RootDir>& upper_;
  const DiffOptions& options_;
  const TreeStamps* before_;
  XattrReader xattrs_;
  UpperCompare compare_;
};

/// Adds a whiteout of what `below` is.
void add_whiteout(std::string path, std::uint32_t depth, const oci::FileNode* below, UpperFinds& out);

}  // namespace imgbuild::builder
