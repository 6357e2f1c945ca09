#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <string>

#include "base/compress.h"
#include "base/stream.h"
#include "oci/blob_store.h"
#include "oci/tar_reader.h"

namespace imgbuild::oci {

/// The members of an image archive: small documents in memory, everything else in the blob store under its
/// digest.
class ArchiveMembers {
 public:
  struct Stored {
    Digest digest;
    std::uint64_t size;
  };

  /// Reads the tar to its end. Throws IntegrityError.
  static ArchiveMembers read(Source& tar, BlobStore& blobs, const std::stop_token& stop);

  /// `index.json`, `manifest.json`, `oci-layout`; nothing when it is not there.
  const std::string* find_document(const std::string& name) const;
  /// The file at `path`, links inside the archive followed. Throws IntegrityError when there is none, or
  /// `path` or a link leads out.
  Stored file(const std::string& path) const;

 private:
  void take(const TarMember& member, TarReader& reader, BlobStore& blobs, const std::stop_token& stop);
  void take_file(const std::string& path, std::uint64_t size, TarReader& reader, BlobStore& blobs,
                 const std::stop_token& stop);

  std::map<std::string, std::string> documents_;
  std::map<std::string, Stored> files_;
  std::map<std::string, std::string> links_;  ///< path -> path in the archive; empty: it leads out
  std::set<std::string> seen_;                ///< all but directories
};

}  // namespace imgbuild::oci
