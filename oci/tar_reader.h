#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/input_window.h"
#include "base/stream.h"
#include "oci/layer_entry.h"
#include "oci/tar_format.h"
#include "oci/tar_pax.h"
#include "oci/tar_sparse.h"

namespace imgbuild::oci {

/// What one layer may hold (sandbox-and-security.md, section 8).
struct TarLimits {
  std::uint64_t entries = 5'000'000;
  std::uint64_t total_size = std::uint64_t{128} << 30;  ///< of all files, holes included
  std::uint64_t file_size = std::uint64_t{64} << 30;
};

/// One member of a layer's tar. The path is relative, without `.`, `..`, empty components or slashes at the
/// ends; empty only for the root directory. Whiteouts and opaque markers are recognised.
struct TarMember {
  LayerEntry entry;
  bool sparse = false;
  std::vector<tar::SparseExtent> extents;  ///< sparse files: where their bytes are
};

/// Reads layers strictly (FS-21…37): ustar, v7, PAX, GNU long names, base-256 numbers and sparse files,
/// everything else is an IntegrityError. What two tar readers could understand differently is refused. Memory
/// is bounded by constants. It judges members one by one; what they mean together is LayerNames' business.
/// Not thread-safe.
class TarReader {
 public:
  /// `from` must outlive the reader.
  explicit TarReader(Source& from, const TarLimits& limits = {});

  /// The next member, valid until the next call; nullptr at the end of the archive. Content not read is
  /// skipped. Members that are leftovers of AUFS (`.wh..wh.*`) are left out.
  const TarMember* next();

  /// The bytes of the current regular file, holes as zeros; 0 at its end.
  std::size_t read(std::span<char> buffer);
  /// The same without the holes: the extents' bytes one after the other. Do not mix both on one member.
  std::size_t read_stored(std::span<char> buffer);

  /// Reads the source to its end, past the archive's (FS-36). Call it after next() returned nullptr.
  void drain();

 private:
  bool read_block(tar::Block& block);
  void require_block(tar::Block& block);
  bool read_header(tar::Block& block);
  std::string read_payload(const tar::Block& block, std::uint64_t limit, std::string_view what);
  void skip_exactly(std::uint64_t count);
  void skip_stored();
  bool take_extension(const tar::Block& block, char type);
  void end_archive();
  bool make_member(const tar::Block& block, char type);
  void set_attributes(const tar::Block& block, FileType type);
  void set_content(const tar::Block& block, char type);
  void read_sparse_map(const tar::Block& block, char type);
  void read_map_from_data(tar::SparseMap& map);
  std::string sparse_line(std::uint64_t& used);
  std::uint64_t stored_size(const tar::Block& block) const;
  std::string member_name(const tar::Block& block) const;
  std::string member_link(const tar::Block& block) const;

  InputWindow in_;
  const TarLimits limits_;
  TarMember member_;
  std::optional<tar::PaxValues> pax_;  ///< for the next member
  std::optional<std::string> long_name_;
  std::optional<std::string> long_link_;
  std::uint64_t stored_left_ = 0;  ///< bytes of the current member still in the archive
  std::uint64_t padding_left_ = 0;
  std::uint64_t position_ = 0;  ///< of read() in a sparse file
  std::size_t extent_ = 0;
  std::uint64_t members_ = 0;
  std::uint64_t total_size_ = 0;
  bool ended_ = false;
};

/// A member's content as a Source; valid while the member is current.
class TarContent final : public Source {
 public:
  explicit TarContent(TarReader& reader) : reader_(reader) {}
  std::size_t read(std::span<char> buffer) override { return reader_.read(buffer); }

 private:
  TarReader& reader_;
};

}  // namespace imgbuild::oci
