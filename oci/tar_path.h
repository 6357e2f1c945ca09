#pragma once

#include <string>
#include <string_view>

namespace imgbuild::oci::tar {

/// A member's name, in its simplest form, and what its last component says about the layers below.
struct MarkedPath {
  enum class Mark {
    none,
    whiteout,  ///< `path` is gone; its `.wh.` is taken off
    opaque,    ///< the lower content of the directory `path` is gone
    ignored,   ///< a leftover of AUFS, or something inside one (LAY-31)
  };
  std::string path;  ///< relative, no empty, `.` or `..` components; empty: the root
  Mark mark = Mark::none;
};

/// Takes off leading slashes and `./`, and joins repeated slashes (FS-21). Throws IntegrityError for an empty
/// name,
/// `..`, a NUL byte, a component over 255 or a path over 4096 bytes, and for a malformed whiteout (FS-28).
MarkedPath parse_member_path(std::string_view name);

}  // namespace imgbuild::oci::tar
