#include "oci/archive_export.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/hash.h"
#include "base/temp_dir.h"
#include "oci/archive_content.h"
#include "oci/disk_blob_store.h"
#include "oci/layout.h"
#include "tests/support/golden_image.h"
#include "tests/support/memory_blob_store.h"

using namespace imgbuild;
using namespace imgbuild::oci;
using namespace imgbuild::tests;

namespace {

ExportRequest request_for(const Image& image, const std::vector<std::string>& names,
                          ExportRequest::Form form) {
  ExportRequest request;
  request.form = form;
  request.images = {{image.descriptor, {}}};
  for (const auto& name : names) request.images[0].names.push_back(Reference::parse(name));
  return request;
}

std::string slurp(const std::filesystem::path& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return out.str();
}

std::string path_of(const TempDir& dir) {
  return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(dir.fd()));
}

}  // namespace

TEST_CASE("the docker archive of the specification comes out byte for byte") {
  MemoryBlobStore blobs;
  const Image image = golden_image(blobs);
  StringSink out;
  export_archive(request_for(image, {"golden:1"}, ExportRequest::Form::docker), blobs, out);
  CHECK(out.text().size() == 8704);
  CHECK(sha256(out.text()).str() ==
        "sha256:8659d919b4fcbb786dd73a3f3d0a9dbee599c43d1fea9b26223fa69a75308a74");
}

TEST_CASE("index.json and manifest.json of the specification come out byte for byte") {
  MemoryBlobStore blobs;
  const auto content =
      collect_archive(request_for(golden_image(blobs), {"golden:1"}, ExportRequest::Form::docker), blobs);
  CHECK(sha256(content.index.serialize(false)).hex() ==
        "cb7381c04344709a37f09e5d9befb86a3e58331de11339c60054f8728893e874");
  CHECK(sha256(content.docker_manifest).hex() ==
        "33a013263fd75394244356c6e72d85a6a11d4757589ccbcd86144666dc2be329");
  CHECK(sha256(kLayoutMarker).hex() == "18f0797eab35a4597c1e9624aa4f15fd91f6254e5538c1e0d193b2a95dd4acc6");
}

TEST_CASE("an archive written to a file has the bytes of one written to a stream") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "export");
  DiskBlobStore blobs(dir.fd());
  const Image image = golden_image(blobs);
  const auto request = request_for(image, {"golden:1", "other/name:2"}, ExportRequest::Form::docker);
  StringSink streamed;
  export_archive(request, blobs, streamed);
  const UniqueFd file = open_at(dir.fd(), "archive.tar", O_RDWR | O_CREAT | O_EXCL, 0600);
  export_archive_to_file(request, blobs, file.get());
  CHECK(read_file_at(dir.fd(), "archive.tar", 1 << 20) == streamed.text());
}

TEST_CASE("the OCI form has no manifest.json and one entry a name") {
  MemoryBlobStore blobs;
  const Image image = golden_image(blobs);
  const auto content = collect_archive(request_for(image, {"a:1", "b:2"}, ExportRequest::Form::oci), blobs);
  CHECK(content.docker_manifest.empty());
  REQUIRE(content.index.manifests.size() == 2);
  CHECK(content.index.manifests[0].digest == content.index.manifests[1].digest);
  CHECK(content.index.manifests[1].annotations.at("io.containerd.image.name") == "docker.io/library/b:2");
  const auto unnamed = collect_archive(request_for(image, {}, ExportRequest::Form::oci), blobs);
  REQUIRE(unnamed.index.manifests.size() == 1);
  CHECK_FALSE(unnamed.index.manifests[0].annotations.contains("org.opencontainers.image.ref.name"));
}

TEST_CASE("of an index every platform is written and manifest.json names the one asked for") {
  MemoryBlobStore blobs;
  Index index;
  index.media_type = kOciIndex;
  std::vector<Image> images;
  for (const char* platform : {"linux/amd64", "linux/arm64"}) {
    ImageConfig config = golden_config();
    config.platform = Platform::parse(platform);
    images.push_back(write_image(blobs, config, {golden_layer(blobs)}));
    index.manifests.push_back(images.back().descriptor);
  }
  const std::string bytes = index.serialize(true);
  Descriptor target = images[0].descriptor;
  target.media_type = kOciIndex;
  target.digest = put_blob(blobs, bytes);
  target.size = bytes.size();
  target.platform.reset();
  ExportRequest request;
  request.images = {{target, {Reference::parse("multi")}}};
  request.platform = Platform::parse("linux/arm64");
  const auto content = collect_archive(request, blobs);
  CHECK(content.blobs.size() == 6);
  CHECK(content.docker_manifest.find(images[1].manifest.config.digest.hex()) != std::string::npos);
  CHECK(content.docker_manifest.find(images[0].manifest.config.digest.hex()) == std::string::npos);
  request.platform = Platform::parse("linux/s390x");
  CHECK(collect_archive(request, blobs).docker_manifest.find(images[0].manifest.config.digest.hex()) !=
        std::string::npos);
}

TEST_CASE("an incomplete image is refused before a byte is written") {
  MemoryBlobStore blobs;
  ImageConfig config = golden_config();
  LayerBlob layer = golden_layer(blobs);
  layer.blob.digest = Digest::parse("sha256:" + std::string(64, 'e'));
  const Image image = write_image(blobs, config, {layer});
  StringSink out;
  CHECK_THROWS_WITH_AS(export_archive(request_for(image, {"x"}, ExportRequest::Form::oci), blobs, out),
                       doctest::Contains("is missing"), IntegrityError);
  CHECK(out.text().empty());
}

TEST_CASE("a damaged blob does not leave the store through a stream") {
  MemoryBlobStore blobs;
  const Image image = golden_image(blobs);
  std::string bytes = golden_layer_bytes();
  bytes[12] ^= 1;
  blobs.plant(image.layers[0].blob.digest, bytes);
  StringSink out;
  CHECK_THROWS_AS(export_archive(request_for(image, {"x"}, ExportRequest::Form::oci), blobs, out),
                  IntegrityError);
}

TEST_CASE("a stop request ends an export") {
  MemoryBlobStore blobs;
  std::stop_source stop;
  stop.request_stop();
  StringSink out;
  CHECK_THROWS_AS(export_archive(request_for(golden_image(blobs), {"x"}, ExportRequest::Form::oci), blobs,
                                 out, stop.get_token()),
                  Cancelled);
}

TEST_CASE("a layout directory is extended and an entry of the same name replaced") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "export");
  DiskBlobStore blobs(dir.fd());
  const std::string path = path_of(dir) + "/layout";
  const Image first = golden_image(blobs);
  export_directory(request_for(first, {"app:1"}, ExportRequest::Form::oci), blobs, path);
  ImageConfig changed = golden_config();
  changed.author = "somebody else";
  const Image second = write_image(blobs, changed, {golden_layer(blobs)});
  export_directory(request_for(second, {"app:2"}, ExportRequest::Form::oci), blobs, path);
  CHECK(Layout::open(path).select("1").digest == first.descriptor.digest);
  CHECK(Layout::open(path).select("2").digest == second.descriptor.digest);
  export_directory(request_for(second, {"app:1"}, ExportRequest::Form::oci), blobs, path);
  const Layout layout = Layout::open(path);
  CHECK(layout.select("app:1").digest == second.descriptor.digest);
  CHECK(layout.entries().size() == 1);
  CHECK(slurp(path + "/oci-layout") == kLayoutMarker);
  CHECK(slurp(path + "/blobs/sha256/" + first.descriptor.digest.hex()) == first.manifest_bytes);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    CAPTURE(entry.path().string());
    CHECK_FALSE(entry.path().filename().string().starts_with("."));
    CHECK(std::filesystem::hard_link_count(entry) <= (entry.is_directory() ? 3u : 1u));
  }
}

TEST_CASE("a directory that is some other layout is left alone") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "export");
  DiskBlobStore blobs(dir.fd());
  const std::string path = path_of(dir) + "/layout";
  std::filesystem::create_directory(path);
  std::ofstream(path + "/oci-layout") << "{\"imageLayoutVersion\":\"9.0.0\"}";
  CHECK_THROWS_WITH_AS(
      export_directory(request_for(golden_image(blobs), {}, ExportRequest::Form::oci), blobs, path),
      doctest::Contains("not supported"), IntegrityError);
  CHECK_FALSE(std::filesystem::exists(path + "/index.json"));
}
