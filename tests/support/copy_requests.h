#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/timestamp.h"
#include "builder/copy_engine.h"
#include "oci/layer_entry.h"

namespace imgbuild::tests {

inline constexpr Timestamp kBuildTime{1700000000, 0};

/// Of a file that belongs to root.
inline oci::FileAttributes plain(std::uint32_t mode = 0644, std::int64_t mtime = 1000) {
  oci::FileAttributes attributes;
  attributes.mode = mode;
  attributes.mtime = {mtime, 0};
  return attributes;
}

inline builder::CopyRequest request_of(std::vector<std::string> sources, std::string destination = "/x/") {
  builder::CopyRequest request;
  request.sources = std::move(sources);
  request.destination = std::move(destination);
  request.build_time = kBuildTime;
  return request;
}

}  // namespace imgbuild::tests
