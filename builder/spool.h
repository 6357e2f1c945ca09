#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string_view>

#include "base/stream.h"
#include "base/unique_fd.h"
#include "oci/layer_entry.h"

namespace imgbuild::builder {

/// Bytes set aside until a layer takes them, in a file without a name: gone with the last one who can read
/// it. One writer; reading is thread-safe.
class Spool {
 public:
  /// On the file system of `directory`, or in memory for -1. Throws SystemError. After `stop` every write
  /// throws Cancelled.
  explicit Spool(int directory, std::stop_token stop = {});

  /// A region of `size` bytes, zeros until they are written; its offset.
  std::uint64_t reserve(std::uint64_t size);
  void write(std::uint64_t offset, std::string_view bytes);
  /// Moves all of `source` to a new region. Throws Error unless it gives exactly `size` bytes.
  std::uint64_t add(Source& source, std::uint64_t size);
  /// Opens a region; it may outlive this spool.
  oci::ContentOpener opener(std::uint64_t offset, std::uint64_t size) const;

 private:
  std::shared_ptr<const UniqueFd> file_;
  const std::stop_token stop_;
  std::uint64_t size_ = 0;
};

}  // namespace imgbuild::builder
