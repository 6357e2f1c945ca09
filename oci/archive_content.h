#pragma once

#include <map>
#include <string>
#include <string_view>

#include "oci/archive_export.h"
#include "oci/manifest.h"

namespace imgbuild::oci {

/// What an export writes, whatever the container: blobs by their hex digest, and the documents beside them.
struct ArchiveContent {
  std::map<std::string, Descriptor> blobs;
  Index index;                  ///< index.json
  std::string docker_manifest;  ///< manifest.json; empty in the OCI form
};

/// Looks up everything the request needs. Throws IntegrityError when a blob is missing.
ArchiveContent collect_archive(const ExportRequest& request, const BlobStore& blobs);

}  // namespace imgbuild::oci
