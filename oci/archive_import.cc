#include "oci/archive_import.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/compress.h"
#include "base/error.h"
#include "base/strings.h"
#include "oci/archive_members.h"
#include "oci/image_config.h"
#include "oci/image_graph.h"
#include "oci/json_reader.h"
#include "oci/layer_reader.h"
#include "oci/media_type.h"

namespace imgbuild::oci {

namespace {

constexpr std::uint64_t kMaxDockerManifest = 1 << 20;  // IMG-7
constexpr std::size_t kMaxImages = 1000;

std::string_view layer_type(CompressionKind kind) {
  switch (kind) {
    case CompressionKind::none:
      return kOciLayer;
    case CompressionKind::gzip:
      return kOciLayerGzip;
    case CompressionKind::zstd:
      return kOciLayerZstd;
  }
  return kOciLayer;
}

void read_to_end(Source& source, const std::stop_token& stop) {
  std::vector<char> buffer(kChunkSize);
  while (source.read(buffer) > 0) {
    if (stop.stop_requested()) throw Cancelled();
  }
}

Reference parse_repo_tag(const std::string& text) {
  try {
    return Reference::parse(text);
  } catch (const Error& error) {
    throw IntegrityError(cat("manifest.json: ", error.message()));
  }
}

/// Makes images of what manifest.json says.
class DockerImport {
 public:
  DockerImport(const ArchiveMembers& members, BlobStore& blobs, const std::stop_token& stop)
      : members_(members), blobs_(blobs), stop_(stop) {}

  std::vector<ImportedImage> images(const JsonValue& manifest) {
    const auto& list = manifest.as_array();
    if (list.size() > kMaxImages)
      throw IntegrityError(cat("manifest.json: more than ", kMaxImages, " images"));
    std::vector<ImportedImage> out;
    for (const auto& item : list) out.push_back(image(item));
    return out;
  }

 private:
  ImportedImage image(const JsonValue& item) {
    const Descriptor config_blob = config_descriptor(item.string_or_empty("Config"));
    const ImageConfig config =
        ImageConfig::parse(load_described(blobs_, config_blob, kMaxConfigSize, "config"));
    const auto paths = item.strings("Layers");
    if (paths.size() != config.diff_ids.size()) {
      throw IntegrityError(cat("manifest.json lists ", paths.size(), " layers, the config ",
                               config.diff_ids.size(), " diff IDs"));
    }
    if (paths.size() > kMaxLayers)
      throw IntegrityError(cat("manifest.json: more than ", kMaxLayers, " layers"));
    Manifest manifest{.media_type = std::string(kOciManifest),
                      .artifact_type = {},
                      .config = config_blob,
                      .layers = {},
                      .subject = std::nullopt,
                      .annotations = {}};
    for (std::size_t i = 0; i < paths.size(); ++i)
      manifest.layers.push_back(layer(paths[i], config.diff_ids[i]));
    const std::string bytes = manifest.serialize();
    ImportedImage out{{},
                      {},
                      {.media_type = manifest.media_type,
                       .digest = put_blob(blobs_, bytes),
                       .size = bytes.size(),
                       .urls = {},
                       .annotations = {},
                       .platform = config.platform,
                       .artifact_type = {}}};
    for (const auto& tag : item.strings("RepoTags")) out.names.push_back(parse_repo_tag(tag));
    return out;
  }

  static Descriptor describe(std::string_view type, const ArchiveMembers::Stored& file) {
    return {.media_type = std::string(type),
            .digest = file.digest,
            .size = file.size,
            .urls = {},
            .annotations = {},
            .platform = std::nullopt,
            .artifact_type = {}};
  }

  Descriptor config_descriptor(const std::string& path) const {
    const auto file = members_.file(path);
    std::string name = path.substr(path.rfind('/') + 1);
    if (name.ends_with(".json")) name.resize(name.size() - 5);
    const bool is_digest =
        name.size() == 64 && name.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (is_digest && name != file.digest.hex()) {
      throw IntegrityError(cat("the config ", printable(path), " has the digest ", file.digest.str()));
    }
    return describe(kOciConfig, file);
  }

  Descriptor layer(const std::string& path, const DiffId& diff_id) const {
    const auto file = members_.file(path);
    std::array<char, 4> start{};
    const std::size_t got = blobs_.open_blob(file.digest)->read(start);
    const CompressionKind kind = sniff_compression({start.data(), got});
    const LayerBlob blob{describe(layer_type(kind), file), diff_id};
    if (kind != CompressionKind::none) {
      read_to_end(*open_layer(blobs_, blob), stop_);
    } else if (file.digest != diff_id.value) {
      throw IntegrityError(cat("the layer ", printable(path), " has the diff ID ", file.digest.str(),
                               ", the config says ", diff_id.value.str()));
    }
    return blob.blob;
  }

  const ArchiveMembers& members_;
  BlobStore& blobs_;
  const std::stop_token& stop_;
};

/// Names of images that only Docker's manifest.json gives, found by their config.
void add_docker_names(std::vector<ImportedImage>& images, const JsonValue& docker, const BlobStore& blobs,
                      const ArchiveMembers& members) {
  for (const auto& item : docker.as_array()) {
    const Digest config = members.file(item.string_or_empty("Config")).digest;
    for (auto& image : images) {
      if (!image.names.empty() || !is_manifest_type(image.target.media_type)) continue;
      const ImageGraph graph = reach(blobs, image.target);
      if (graph.manifests.front().manifest.config.digest != config) continue;
      for (const auto& tag : item.strings("RepoTags")) image.names.push_back(parse_repo_tag(tag));
    }
  }
}

/// Undoes a compression around the whole archive.
std::unique_ptr<Source> plain_archive(std::unique_ptr<Source> from) {
  class Joined final : public Source {
   public:
    Joined(std::string start, std::unique_ptr<Source> rest)
        : start_(std::move(start)), rest_(std::move(rest)) {}
    std::size_t read(std::span<char> buffer) override {
      const std::size_t got = start_.read(buffer);
      return got > 0 ? got : rest_->read(buffer);
    }

   private:
    StringSource start_;
    std::unique_ptr<Source> rest_;
  };
  std::string start(512, '\0');
  std::size_t size = 0;
  while (size < 4) {
    const std::size_t got = from->read({start.data() + size, start.size() - size});
    if (got == 0) break;
    size += got;
  }
  start.resize(size);
  const CompressionKind kind = sniff_compression(start);
  std::unique_ptr<Source> joined = std::make_unique<Joined>(std::move(start), std::move(from));
  if (kind == CompressionKind::none) return joined;
  return make_decompressor(kind, std::move(joined), {.max_output = std::uint64_t{1} << 40});
}

void copy_blob(const BlobStore& from, const Descriptor& blob, BlobStore& to, const std::stop_token& stop) {
  if (to.find_blob(blob.digest) == blob.size) return;
  const auto source = from.open_blob(blob.digest);
  const auto writer = to.create();
  std::vector<char> buffer(kChunkSize);
  while (const std::size_t got = source->read(buffer)) {
    if (stop.stop_requested()) throw Cancelled();
    writer->write({buffer.data(), got});
  }
  writer->commit(blob.digest);  // the source has verified what it gave
}

std::vector<ImportedImage> import_members(const ArchiveMembers& members, BlobStore& blobs,
                                          const std::stop_token& stop) {
  const std::string* index = members.find_document("index.json");
  const std::string* docker_text = members.find_document("manifest.json");
  std::optional<JsonValue> docker;
  if (docker_text != nullptr) {
    if (docker_text->size() > kMaxDockerManifest) throw IntegrityError("manifest.json is too large");
    docker = JsonValue::parse(*docker_text, "manifest.json");
  }
  std::vector<ImportedImage> out;
  if (index != nullptr && members.find_document("oci-layout") != nullptr) {
    check_layout_marker(*members.find_document("oci-layout"));
    for (auto& entry : read_layout_index(*index)) {
      (void)reach(blobs, entry.target, Children::at_least_one);
      out.push_back({std::move(entry.names), std::move(entry.ref_name), std::move(entry.target)});
    }
    if (docker && !out.empty()) add_docker_names(out, *docker, blobs, members);
  }
  if (out.empty() && docker) out = DockerImport(members, blobs, stop).images(*docker);
  if (out.empty())
    throw IntegrityError(
        "the archive holds no image: it has neither an OCI layout nor Docker's manifest.json");
  return out;
}

}  // namespace

std::vector<ImportedImage> import_archive(std::unique_ptr<Source> from, BlobStore& blobs,
                                          std::stop_token stop) {
  try {
    const auto plain = plain_archive(std::move(from));
    return import_members(ArchiveMembers::read(*plain, blobs, stop), blobs, stop);
  } catch (Error& error) {
    error.add_context("reading the image archive");
    throw;
  }
}

void copy_image(const BlobStore& from, const Descriptor& target, BlobStore& to, std::stop_token stop) {
  const ImageGraph graph = reach(from, target, Children::at_least_one);
  for (auto blob = graph.blobs.rbegin(); blob != graph.blobs.rend(); ++blob) copy_blob(from, *blob, to, stop);
}

std::vector<ImportedImage> import_layout(const Layout& layout, BlobStore& blobs, std::stop_token stop) {
  std::vector<ImportedImage> out;
  for (const auto& entry : layout.entries()) {
    copy_image(layout, entry.target, blobs, stop);
    out.push_back({entry.names, entry.ref_name, entry.target});
  }
  if (out.empty()) throw IntegrityError("the OCI layout holds no image");
  return out;
}

std::vector<ImportedImage> import_path(const std::string& path, BlobStore& blobs, std::stop_token stop) {
  UniqueFd file = open_path(path, O_RDONLY);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) throw SystemError(errno, "stat", path);
  if (S_ISDIR(info.st_mode)) return import_layout(Layout::open(path), blobs, stop);
  return import_archive(std::make_unique<FileSource>(std::move(file), path), blobs, stop);
}

}  // namespace imgbuild::oci
