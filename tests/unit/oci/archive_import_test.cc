#include "oci/archive_import.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/compress.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "oci/archive_export.h"
#include "oci/disk_blob_store.h"
#include "oci/validate.h"
#include "tests/support/golden_image.h"
#include "tests/support/image_archives.h"
#include "tests/support/memory_blob_store.h"

using namespace imgbuild;
using namespace imgbuild::oci;
using namespace imgbuild::tests;

namespace {

using Members = std::vector<ArchiveMember>;

std::vector<ImportedImage> import_bytes(std::string bytes, BlobStore& blobs) {
  return import_archive(std::make_unique<StringSource>(std::move(bytes)), blobs);
}

std::string export_golden(ExportRequest::Form form, const std::vector<std::string>& names = {"golden:1"}) {
  MemoryBlobStore blobs;
  ExportRequest request;
  request.form = form;
  request.images = {{golden_image(blobs).descriptor, {}}};
  for (const auto& name : names) request.images[0].names.push_back(Reference::parse(name));
  StringSink out;
  export_archive(request, blobs, out);
  return out.take();
}

std::string plain_layer() { return std::string(1024, '\0'); }
std::string config_bytes() { return golden_config().serialize(); }

std::string docker_manifest(const std::string& config, const std::string& layer,
                            const std::string& tags = "[\"a/b:c\"]") {
  return cat("[{\"Config\":\"", config, "\",\"RepoTags\":", tags, ",\"Layers\":[\"", layer, "\"]}]");
}

/// The parts of an OCI archive of the golden image, to be broken by a test.
struct Parts {
  Parts() {
    MemoryBlobStore blobs;
    const Image image = golden_image(blobs);
    Index index;
    index.media_type = kOciIndex;
    index.manifests = {image.descriptor};
    members = {{"oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}"},
               {"index.json", index.serialize(false)},
               {path(image.descriptor.digest), image.manifest_bytes},
               {path(image.manifest.config.digest), image.config_bytes},
               {path(image.layers[0].blob.digest), golden_layer_bytes()}};
  }
  static std::string path(const Digest& digest) { return "blobs/sha256/" + digest.hex(); }
  Members members;
};

}  // namespace

TEST_CASE("what is exported comes back with its names and digests") {
  for (const auto form : {ExportRequest::Form::oci, ExportRequest::Form::docker}) {
    MemoryBlobStore blobs;
    const auto images = import_bytes(export_golden(form, {"golden:1", "localhost:5000/x/y:z"}), blobs);
    REQUIRE(images.size() == 1);
    REQUIRE(images[0].names.size() == 2);
    CHECK(images[0].names[1].str() == "localhost:5000/x/y:z");
    CHECK(images[0].target.digest.str() ==
          "sha256:b2eb33858338a0c3f3b35b9eb5ed5097cf75b633845e7f7a7612e69606f9e99a");
    CHECK(images[0].target.annotations.empty());
    CHECK(validate_image(blobs, images[0].target) == std::vector<std::string>());
  }
}

TEST_CASE("an archive may be compressed as a whole") {
  for (const auto kind : {CompressionKind::gzip, CompressionKind::zstd}) {
    StringSink packed;
    const auto compressor = make_compressor({kind, {}}, packed, nullptr);
    compressor->write(export_golden(ExportRequest::Form::docker));
    compressor->finish();
    MemoryBlobStore blobs;
    CHECK(import_bytes(packed.take(), blobs).size() == 1);
  }
}

TEST_CASE("a classic docker archive keeps its plain layers as they are") {
  const std::string config = config_bytes();
  const std::string name = sha256(config).hex() + ".json";
  MemoryBlobStore blobs;
  const auto images = import_bytes(make_archive({{"aaaa/", "", '5'},
                                                 {"aaaa/VERSION", "1.0"},
                                                 {"aaaa/json", "{}"},
                                                 {"aaaa/layer.tar", plain_layer()},
                                                 {name, config},
                                                 {"manifest.json", docker_manifest(name, "aaaa/layer.tar")},
                                                 {"repositories", "{}"}}),
                                   blobs);
  REQUIRE(images.size() == 1);
  CHECK(images[0].names[0].str() == "docker.io/a/b:c");
  const Image image = load_image(blobs, images[0].target, Platform::parse("linux/amd64"), false);
  CHECK(image.manifest.layers[0].media_type == kOciLayer);
  CHECK(image.manifest.layers[0].digest == image.config.diff_ids[0].value);
  CHECK(image.manifest.config.digest == sha256(config));
  CHECK(validate_image(blobs, images[0].target).empty());
}

TEST_CASE("links inside a docker archive lead to other members, in any order") {
  const std::string config = config_bytes();
  MemoryBlobStore blobs;
  const auto images =
      import_bytes(make_archive({{"manifest.json", docker_manifest("config", "v1/layer.tar", "null")},
                                 {"v1/layer.tar", "../layer-file.tar", '2'},
                                 {"layer-file.tar", golden_layer_bytes()},
                                 {"config", config}}),
                   blobs);
  REQUIRE(images.size() == 1);
  CHECK(images[0].names.empty());
  const Image image = load_image(blobs, images[0].target, Platform::parse("linux/amd64"), false);
  CHECK(image.manifest.layers[0].media_type == kOciLayerGzip);  // by its bytes, whatever its name
}

TEST_CASE("a layer that is not what the config says is refused (ATK-93)") {
  ImageConfig config = golden_config();
  config.diff_ids[0].value = Digest::parse("sha256:" + std::string(64, '7'));
  const std::string bytes = config.serialize();
  for (const std::string& layer : {plain_layer(), golden_layer_bytes()}) {
    MemoryBlobStore blobs;
    CHECK_THROWS_AS(
        import_bytes(make_archive({{"l", layer}, {"c", bytes}, {"manifest.json", docker_manifest("c", "l")}}),
                     blobs),
        IntegrityError);
  }
}

TEST_CASE("hostile docker archives are refused (ATK-97)") {
  const std::string config = config_bytes();
  const std::string wrong_name = std::string(64, '1') + ".json";
  const Members good = {{"l", plain_layer()}, {"c", config}};
  struct Case {
    const char* what;
    Members more;
    std::string manifest;
  };
  const std::vector<Case> cases = {
      {"layer path leads out", {}, docker_manifest("c", "../../etc/passwd")},
      {"layer path is absolute", {}, docker_manifest("c", "/etc/passwd")},
      {"config is missing", {}, docker_manifest("nothing", "l")},
      {"link leads out", {{"d/x", "../../../etc/shadow", '2'}}, docker_manifest("c", "d/x")},
      {"link is absolute", {{"x", "/etc/shadow", '2'}}, docker_manifest("c", "x")},
      {"links in a circle", {{"x", "y", '2'}, {"y", "x", '2'}}, docker_manifest("c", "x")},
      {"a FIFO", {{"pipe", "", '6'}}, docker_manifest("c", "l")},
      {"a device", {{"dev", "", '3'}}, docker_manifest("c", "l")},
      {"a member twice", {{"l", plain_layer()}}, docker_manifest("c", "l")},
      {"a whiteout", {{".wh.x", ""}}, docker_manifest("c", "l")},
      {"a member above the root", {{"../x", "y"}}, docker_manifest("c", "l")},
      {"a name that is no reference", {}, docker_manifest("c", "l", "[\"../../x:y\"]")},
      {"a config under another digest", {{wrong_name, config}}, docker_manifest(wrong_name, "l")},
      {"more layers than diff IDs", {}, docker_manifest("c", "l\",\"l")},
      {"not a list", {}, "{}"},
      {"not JSON", {}, "[{"},
      {"a null image", {}, "[null]"},
      {"layers of another kind", {}, "[{\"Config\":\"c\",\"Layers\":[1]}]"},
      {"no image at all", {}, "[]"},
  };
  for (const auto& each : cases) {
    CAPTURE(each.what);
    Members members = good;
    members.insert(members.end(), each.more.begin(), each.more.end());
    members.push_back({"manifest.json", each.manifest});
    MemoryBlobStore blobs;
    CHECK_THROWS_AS(import_bytes(make_archive(members), blobs), IntegrityError);
  }
  MemoryBlobStore blobs;
  Members members = good;
  members.push_back({"manifest.json", docker_manifest("c", "l")});
  CHECK(import_bytes(make_archive(members), blobs).size() == 1);  // the cases fail for their own reason
}

TEST_CASE("hostile OCI archives are refused (ATK-97)") {
  const Parts parts;
  const auto broken = [&](auto change) {
    Members members = parts.members;
    change(members);
    MemoryBlobStore blobs;
    return import_bytes(make_archive(members), blobs);
  };
  CHECK(broken([](Members&) {}).size() == 1);
  CHECK_THROWS_AS(broken([](Members& m) { m[4].content[12] ^= 1; }), IntegrityError);   // wrong digest
  CHECK_THROWS_AS(broken([](Members& m) { m.erase(m.begin() + 4); }), IntegrityError);  // layer missing
  CHECK_THROWS_AS(broken([](Members& m) { m[4] = {m[4].path, "/etc/shadow", '2'}; }), IntegrityError);
  CHECK_THROWS_AS(broken([](Members& m) { m[4] = {m[4].path, m[3].path, '1'}; }), IntegrityError);
  CHECK_THROWS_AS(broken([](Members& m) { m[4] = {m[4].path, "", '6'}; }), IntegrityError);
  CHECK_THROWS_AS(broken([](Members& m) { m[1] = {"index.json", "oci-layout", '2'}; }), IntegrityError);
  CHECK_THROWS_AS(broken([](Members& m) { m.push_back(m[1]); }), IntegrityError);  // index.json twice
  CHECK_THROWS_AS(broken([](Members& m) { m[0].content = "{\"imageLayoutVersion\":\"2.0.0\"}"; }),
                  IntegrityError);
  CHECK_THROWS_AS(broken([](Members& m) { m[1].content = std::string(5 << 20, ' '); }), IntegrityError);
  CHECK_THROWS_AS(broken([](Members& m) {
                    auto& index = m[1].content;
                    index.replace(index.find("475"), 3, "474");  // size
                  }),
                  IntegrityError);
  CHECK_THROWS_AS(broken([](Members& m) { m.push_back({"blobs/sha256/../../x", "y"}); }), IntegrityError);
  CHECK_THROWS_AS(broken([](Members& m) { m.push_back({"blobs/sha256/short", "y"}); }), Error);
  MemoryBlobStore blobs;
  CHECK_THROWS_AS(import_bytes("", blobs), IntegrityError);
  CHECK_THROWS_AS(import_bytes("no tar at all", blobs), IntegrityError);
  std::string cut = make_archive(parts.members);
  cut.resize(3000);
  CHECK_THROWS_AS(import_bytes(cut, blobs), IntegrityError);
}

TEST_CASE("a layout directory is read beneath itself only (ATK-97)") {
  namespace fs = std::filesystem;
  const TempDir dir = TempDir::create(std::string("/tmp"), "import");
  DiskBlobStore source(dir.fd());
  const std::string top = fs::read_symlink("/proc/self/fd/" + std::to_string(dir.fd()));
  const std::string path = top + "/layout";
  const Image image = golden_image(source);
  ExportRequest request{.form = ExportRequest::Form::oci,
                        .images = {{image.descriptor, {Reference::parse("golden:1")}}}};
  export_directory(request, source, path);
  const std::string layer = path + "/blobs/sha256/" + image.layers[0].blob.digest.hex();
  {
    MemoryBlobStore blobs;
    const auto images = import_path(path, blobs);
    REQUIRE(images.size() == 1);
    CHECK(images[0].names[0].str() == "docker.io/library/golden:1");
    CHECK(validate_image(blobs, images[0].target).empty());
  }
  MemoryBlobStore blobs;
  SUBCASE("a blob that is a link") {
    fs::rename(layer, top + "/elsewhere");
    fs::create_symlink(top + "/elsewhere", layer);
  }
  SUBCASE("a blob that is a FIFO") {
    fs::remove(layer);
    REQUIRE(::mkfifo(layer.c_str(), 0644) == 0);
  }
  SUBCASE("a blob that is a directory") {
    fs::remove(layer);
    fs::create_directory(layer);
  }
  SUBCASE("a blob with other bytes") {
    fs::remove(layer);
    std::ofstream(layer) << std::string(32, 'x');
  }
  SUBCASE("a blob of another size") {
    fs::remove(layer);
    std::ofstream(layer) << "x";
  }
  SUBCASE("a missing blob") { fs::remove(layer); }
  SUBCASE("an index that is a link") {
    fs::rename(path + "/index.json", top + "/index.json");
    fs::create_symlink("../index.json", path + "/index.json");
  }
  SUBCASE("an index that is a FIFO") {
    fs::remove(path + "/index.json");
    REQUIRE(::mkfifo((path + "/index.json").c_str(), 0644) == 0);
  }
  SUBCASE("blobs behind a link") {
    fs::rename(path + "/blobs", top + "/moved");
    fs::create_symlink("../moved", path + "/blobs");
  }
  CHECK_THROWS_AS(import_path(path, blobs), Error);
}

TEST_CASE("an entry of a layout is chosen by tag, name or digest") {
  namespace fs = std::filesystem;
  const TempDir dir = TempDir::create(std::string("/tmp"), "import");
  DiskBlobStore source(dir.fd());
  const std::string path = fs::read_symlink("/proc/self/fd/" + std::to_string(dir.fd())).string() + "/layout";
  const Image image = golden_image(source);
  ImageConfig changed = golden_config();
  changed.author = "x";
  const Image other = write_image(source, changed, {golden_layer(source)});
  ExportRequest request{
      .form = ExportRequest::Form::oci,
      .images = {{image.descriptor, {Reference::parse("golden:1")}}, {other.descriptor, {}}}};
  export_directory(request, source, path);
  const Layout layout = Layout::open(path);
  CHECK(layout.select("1").digest == image.descriptor.digest);
  CHECK(layout.select("golden:1").digest == image.descriptor.digest);
  CHECK(layout.select("@" + other.descriptor.digest.str()).digest == other.descriptor.digest);
  CHECK_THROWS_WITH_AS(layout.select(""), doctest::Contains("holds 2 images"), Error);
  CHECK_THROWS_WITH_AS(layout.select("2"), doctest::Contains("no image \"2\""), Error);
  CHECK_THROWS_AS(layout.select("@sha256:x"), Error);
}
