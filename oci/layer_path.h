#pragma once

#include <string_view>

namespace imgbuild::oci {

/// Symlinks followed on the way to one file (COPY-10, COPY-28).
inline constexpr int kMaxLinks = 255;

/// The directory of a layer's path; empty for what is in the root.
inline std::string_view parent_of(std::string_view path) {
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

inline std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

}  // namespace imgbuild::oci
