#include "oci/archive_content.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "oci/image.h"
#include "oci/image_graph.h"
#include "oci/json_writer.h"
#include "oci/layout.h"
#include "oci/media_type.h"

namespace imgbuild::oci {

namespace {

bool is_attestation(const Descriptor& entry) {
  return entry.annotations.contains("vnd.docker.reference.type") || !entry.artifact_type.empty() ||
         (entry.platform && entry.platform->os == "unknown");
}

/// The manifest a loader without indexes gets (EXP-16, EXP-17).
Image runnable_image(const ExportImage& image, const ImageGraph& graph, const BlobStore& blobs,
                     const Platform& wanted) {
  if (is_manifest_type(image.target.media_type)) return load_image(blobs, image.target, wanted, false);
  const Index index =
      Index::parse(load_described(blobs, image.target, kMaxManifestSize, "index"), image.target.media_type);
  if (index.select(wanted, false)) return load_image(blobs, image.target, wanted, false);
  for (const auto& reached : graph.manifests) {
    if (!is_attestation(reached.descriptor)) return load_image(blobs, reached.descriptor, wanted, false);
  }
  throw IntegrityError(cat("the index ", image.target.digest.str(), " has no image that could run"));
}

std::string blob_path(const Descriptor& blob) { return cat("blobs/sha256/", blob.digest.hex()); }

/// Docker's own manifest names carry no digest.
std::string repo_tag(const Reference& name) {
  return cat(name.registry(), "/", name.repository(), ":", *name.tag());
}

void write_docker_image(JsonWriter& json, const Image& image, const std::vector<Reference>& names) {
  json.begin_object();
  json.key("Config").string(blob_path(image.manifest.config));
  json.key("RepoTags").begin_array();
  for (const auto& name : names) {
    if (name.tag()) json.string(repo_tag(name));
  }
  json.end_array();
  json.key("Layers").begin_array();
  for (const auto& layer : image.manifest.layers) json.string(blob_path(layer));
  json.end_array().end_object();
}

std::optional<Timestamp> config_time(const ExportImage& image, const BlobStore& blobs) {
  if (!is_manifest_type(image.target.media_type)) return std::nullopt;
  return load_image(blobs, image.target, {}, false).config.created;
}

void add_entries(Index& index, const ExportImage& image, const std::optional<Timestamp>& created,
                 const BlobStore& blobs) {
  Descriptor entry = image.target;
  if (!entry.platform && is_manifest_type(entry.media_type)) {
    entry.platform = load_image(blobs, entry, {}, false).config.platform;
  }
  const auto time = created ? created : config_time(image, blobs);
  if (time) entry.annotations[std::string(kCreatedAnnotation)] = format_rfc3339(*time);
  if (image.names.empty()) index.manifests.push_back(entry);
  for (const auto& name : image.names) {
    Descriptor named = entry;
    named.annotations[std::string(kContainerdNameAnnotation)] = name.str();
    if (name.tag()) named.annotations[std::string(kRefNameAnnotation)] = *name.tag();
    index.manifests.push_back(std::move(named));
  }
}

}  // namespace

ArchiveContent collect_archive(const ExportRequest& request, const BlobStore& blobs) {
  ArchiveContent out;
  out.index.media_type = kOciIndex;
  JsonWriter docker(false);
  docker.begin_array();
  for (const auto& image : request.images) {
    const ImageGraph graph = reach(blobs, image.target);
    for (const auto& blob : graph.blobs) out.blobs.emplace(blob.digest.hex(), blob);
    add_entries(out.index, image, request.created, blobs);
    if (request.form == ExportRequest::Form::docker) {
      write_docker_image(docker, runnable_image(image, graph, blobs, request.platform), image.names);
    }
  }
  docker.end_array();
  if (request.form == ExportRequest::Form::docker) out.docker_manifest = docker.take();
  return out;
}

}  // namespace imgbuild::oci
