#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/root_dir.h"
#include "oci/blob_store.h"
#include "oci/manifest.h"
#include "oci/reference.h"

namespace imgbuild::oci {

/// The fixed content of an OCI layout's marker file, and its annotations (EXP-9, EXP-14).
inline constexpr std::string_view kLayoutMarker = "{\"imageLayoutVersion\":\"1.0.0\"}";
inline constexpr std::string_view kRefNameAnnotation = "org.opencontainers.image.ref.name";
inline constexpr std::string_view kContainerdNameAnnotation = "io.containerd.image.name";
inline constexpr std::string_view kCreatedAnnotation = "org.opencontainers.image.created";

/// Throws IntegrityError unless `text` marks a layout of a version we read.
void check_layout_marker(std::string_view text);

/// One entry of a layout's index.json without the annotations that only name it.
struct LayoutEntry {
  Descriptor target;
  std::string ref_name;          ///< as written; a tag or a whole reference
  std::vector<Reference> names;  ///< full names, when the annotations give one
};
/// Reads index.json. Entries that are no images (attestations, artifacts) are left out, those of one digest
/// joined. Throws IntegrityError, also for a name that is no reference.
std::vector<LayoutEntry> read_layout_index(std::string_view json);

/// An OCI layout directory, which may be hostile (ATK-97): everything is opened beneath it, no link is
/// followed, only regular files are read, and every byte is verified. Reading only; thread-safe.
class Layout final : public BlobStore {
 public:
  /// Throws SystemError or Error when `path` is no layout.
  static Layout open(const std::string& path);

  const std::vector<LayoutEntry>& entries() const noexcept { return entries_; }
  /// The entry that `selector` means: `tag`, a full name, `@digest` or, when empty, the only entry (or the
  /// one tagged `latest`). Throws Error that lists what there is.
  Descriptor select(std::string_view selector) const;

  std::optional<std::uint64_t> find_blob(const Digest& digest) const override;
  std::unique_ptr<Source> open_blob(const Digest& digest) const override;
  UniqueFd open_blob_file(const Digest& digest) const override;
  /// Throws Error: a layout is only read here.
  std::unique_ptr<BlobWriter> create() override;

 private:
  explicit Layout(RootDir dir) : dir_(std::move(dir)) {}
  UniqueFd open_if_exists(const Digest& digest) const;
  std::optional<Descriptor> find_child(const Digest& digest) const;

  RootDir dir_;
  std::vector<LayoutEntry> entries_;
};

}  // namespace imgbuild::oci
