#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/stream.h"
#include "oci/blob_store.h"
#include "oci/descriptor.h"
#include "oci/layout.h"
#include "oci/reference.h"

namespace imgbuild::oci {

/// An image whose blobs are all stored.
struct ImportedImage {
  std::vector<Reference> names;  ///< may be empty
  std::string ref_name;          ///< the layout's annotation, also when it is only a tag
  Descriptor target;
};

/// Reads an OCI archive or a docker archive (classic, of Docker 25 and later, Skopeo's; EXP-19), gzip or zstd
/// around it or not, in one pass: `from` may be a pipe. OCI images keep their bytes and digests. Images of a
/// docker archive keep config and layer bytes and get a manifest with the true media types; their layers are
/// checked against the diff IDs. Blobs of an OCI archive get their diff IDs checked when somebody unpacks
/// them.
///
/// The archive may be hostile (ATK-97): links lead nowhere but to other members, names are only looked up,
/// every blob must have its digest and size, a member that comes twice is refused. Blobs stored before an
/// error stay, unnamed. Throws IntegrityError.
std::vector<ImportedImage> import_archive(std::unique_ptr<Source> from, BlobStore& blobs,
                                          std::stop_token stop = {});

/// Copies one image of a layout, or all that is reachable from any `target`, into `blobs`. Of an index,
/// platforms the source lacks stay absent. Throws IntegrityError.
void copy_image(const BlobStore& from, const Descriptor& target, BlobStore& to, std::stop_token stop = {});

/// All images of a layout directory.
std::vector<ImportedImage> import_layout(const Layout& layout, BlobStore& blobs, std::stop_token stop = {});

/// A layout directory or an archive file.
std::vector<ImportedImage> import_path(const std::string& path, BlobStore& blobs, std::stop_token stop = {});

}  // namespace imgbuild::oci
