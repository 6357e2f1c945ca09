#include <doctest/doctest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "oci/media_type.h"
#include "oci/pull.h"
#include "tests/support/http_server.h"
#include "tests/support/memory_blob_store.h"

namespace imgbuild::oci {

namespace {

constexpr const char* kRegistryProgram = "/usr/bin/docker-registry";
constexpr const char* kSkopeo = "/usr/bin/skopeo";

int free_port() {
  return tests::HttpServer([](const tests::ServerRequest&) { return tests::ServerReply{}; }).port();
}

/// A real registry on a loopback port, with its data in a directory of its own.
class LiveRegistry {
 public:
  LiveRegistry()
      : directory_(TempDir::create(std::filesystem::temp_directory_path().string(), "registry-")),
        path_((std::filesystem::temp_directory_path() / directory_.name()).string()),
        host_(cat("127.0.0.1:", free_port())) {
    std::ofstream(path_ + "/config.yml")
        << "version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: " << path_
        << "/data}\nhttp: {addr: '" << host_ << "'}\n";
    std::string program = kRegistryProgram;
    std::string verb = "serve";
    std::string config = path_ + "/config.yml";
    char* words[] = {program.data(), verb.data(), config.data(), nullptr};
    char* environment[] = {nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    const int error = ::posix_spawn(&pid_, kRegistryProgram, &actions, nullptr, words, environment);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw SystemError(error, "start", kRegistryProgram);
  }
  ~LiveRegistry() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  LiveRegistry(const LiveRegistry&) = delete;
  LiveRegistry& operator=(const LiveRegistry&) = delete;

  const std::string& host() const noexcept { return host_; }
  const std::string& path() const noexcept { return path_; }

 private:
  TempDir directory_;
  std::string path_;
  std::string host_;
  pid_t pid_ = -1;
};

/// An OCI layout with one image; returns the layer's digest.
Digest write_layout(const std::string& path, const std::string& layer) {
  const auto put = [&](const std::string& bytes) {
    std::filesystem::create_directories(path + "/blobs/sha256");
    std::ofstream(cat(path, "/blobs/sha256/", sha256(bytes).hex()), std::ios::binary) << bytes;
    return sha256(bytes);
  };
  ImageConfig config;
  config.platform = Platform::parse("linux/amd64");
  config.diff_ids = {DiffId{sha256(layer)}};
  const std::string config_bytes = config.serialize();
  const Manifest manifest{
      .media_type = std::string(kOciManifest),
      .config = {.media_type = std::string(kOciConfig),
                 .digest = put(config_bytes),
                 .size = config_bytes.size()},
      .layers = {{.media_type = std::string(kOciLayer), .digest = put(layer), .size = layer.size()}}};
  const std::string manifest_bytes = manifest.serialize();
  const Index index{.media_type = std::string(kOciIndex),
                    .manifests = {{.media_type = std::string(kOciManifest),
                                   .digest = put(manifest_bytes),
                                   .size = manifest_bytes.size(),
                                   .annotations = {{"org.opencontainers.image.ref.name", "v1"}}}}};
  std::ofstream(path + "/index.json") << index.serialize(false);
  std::ofstream(path + "/oci-layout") << R"({"imageLayoutVersion":"1.0.0"})";
  return sha256(layer);
}

}  // namespace

TEST_CASE("an image pushed to a real registry by somebody else is pulled from it") {
  if (::access(kRegistryProgram, X_OK) != 0 || ::access(kSkopeo, X_OK) != 0) {
    std::puts("SKIPPED: docker-registry or skopeo is not installed");
    return;
  }
  const LiveRegistry live;
  HttpClient http({});
  RegistryOptions options;
  options.max_attempts = 50;  // until it listens
  options.longest_delay = std::chrono::milliseconds(100);
  Registry registry(http, options);
  const Reference name = Reference::parse(live.host() + "/some/image:v1");
  CHECK_THROWS_AS(registry.find_manifest(name), RegistryStatusError);

  // A tar of nothing: the registry does not look inside.
  const std::string layer(1024 * 1024, '\0');
  const Digest digest = write_layout(live.path() + "/layout", layer);
  REQUIRE(std::system(cat(kSkopeo, " --insecure-policy copy -q --dest-tls-verify=false oci:", live.path(),
                          "/layout:v1 docker://", live.host(), "/some/image:v1 >/dev/null 2>&1")
                          .c_str()) == 0);

  tests::MemoryBlobStore store;
  ImagePuller puller(registry, store);
  const Image image = puller.resolve(name, Platform::parse("linux/amd64"));
  REQUIRE(image.layers.size() == 1);
  CHECK(image.descriptor.media_type == kOciManifest);
  puller.fetch_layers(image.layers);
  CHECK(store.find_blob(image.layers.front().blob.digest).has_value());
  if (image.layers.front().blob.digest == digest) CHECK(store.blob(digest) == layer);
  CHECK(image.layers.front().diff_id.value == digest);

  // The part the scripted server stands in for: a range of the real one.
  HttpRequest range{
      .url = cat("http://", live.host(), "/v2/some/image/blobs/", image.layers.front().blob.digest.str())};
  range.headers.add("Range", "bytes=5-");
  const HttpResponse part = http.send(range);
  CHECK(part.status == 206);
  CHECK(part.headers.find("Content-Range")->starts_with("bytes 5-"));
}

}  // namespace imgbuild::oci
