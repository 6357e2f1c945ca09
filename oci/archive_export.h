#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/stream.h"
#include "base/timestamp.h"
#include "oci/blob_store.h"
#include "oci/descriptor.h"
#include "oci/platform.h"
#include "oci/reference.h"

namespace imgbuild::oci {

struct ExportImage {
  Descriptor target;             ///< manifest or index; its annotations go into index.json
  std::vector<Reference> names;  ///< none: the image goes out without a name
};

struct ExportRequest {
  enum class Form {
    oci,     ///< an OCI layout (EXP-9)
    docker,  ///< the same and Docker's manifest.json: every loader takes it (EXP-15)
  };
  Form form = Form::docker;
  std::vector<ExportImage> images;
  /// Docker's manifest.json can name one manifest of an index: this one, or the first when the index lacks
  /// it.
  Platform platform;
  /// Creation time in index.json; nothing: that of the image's config.
  std::optional<Timestamp> created;
};

/// Names the bytes of the archive: equal for requests that make the same ones from verified blobs.
Digest archive_recipe(const ExportRequest& request);

/// Writes an archive whose bytes are a function of the request and the images alone: sorted members, no
/// owners, no times (REP-7). Every blob of every platform must be stored. Does not call `out.finish()`. Blobs
/// are verified on the way. Throws IntegrityError for an incomplete or damaged image, before anything is
/// written if it is incomplete.
void export_archive(const ExportRequest& request, const BlobStore& blobs, Sink& out,
                    std::stop_token stop = {});

/// The same bytes into the file `fd`, from its current offset. Blobs the store has as files are copied inside
/// the kernel; of those only the size is checked.
void export_archive_to_file(const ExportRequest& request, const BlobStore& blobs, int fd,
                            std::stop_token stop = {});

/// The same content as a directory (EXP-12), made if needed. An existing layout is extended: blobs are added,
/// entries of index.json with the same name replaced; index.json is replaced last. Blobs are shared with the
/// store where the file system can (reflink), else copied, never linked: editing the layout must not reach
/// the store.
void export_directory(const ExportRequest& request, const BlobStore& blobs, const std::string& path,
                      std::stop_token stop = {});

}  // namespace imgbuild::oci
