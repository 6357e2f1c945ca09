#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "base/temp_dir.h"
#include "oci/disk_blob_store.h"
#include "oci/disk_image_store.h"
#include "oci/media_type.h"

using namespace imgbuild;
using namespace imgbuild::oci;
namespace fs = std::filesystem;

namespace {

struct Store {
  TempDir dir = TempDir::create(std::string("/tmp"), "store");
  DiskBlobStore blobs{dir.fd()};
  fs::path path = fs::read_symlink("/proc/self/fd/" + std::to_string(dir.fd()));
  fs::path file(const Digest& digest) const { return path / "blobs/sha256" / digest.hex(); }
};

std::size_t count_files(const fs::path& dir) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(dir), fs::directory_iterator()));
}

Descriptor target(char digit) {
  return {.media_type = std::string(kOciManifest),
          .digest = Digest::parse("sha256:" + std::string(64, digit)),
          .size = 7,
          .urls = {},
          .annotations = {},
          .platform = std::nullopt,
          .artifact_type = {}};
}

}  // namespace

TEST_CASE("a blob is a read-only file under its digest and nothing else is left") {
  Store store;
  const Digest digest = put_blob(store.blobs, "some bytes");
  CHECK(digest == sha256("some bytes"));
  CHECK(store.blobs.find_blob(digest) == 10);
  CHECK(load_blob(store.blobs, digest, 100) == "some bytes");
  CHECK(fs::status(store.file(digest)).permissions() == static_cast<fs::perms>(0444));
  CHECK(count_files(store.path / "work") == 0);
  CHECK(put_blob(store.blobs, "some bytes") == digest);
  store.blobs.sync_published();
}

TEST_CASE("what is not committed is never seen") {
  Store store;
  {
    const auto writer = store.blobs.create();
    writer->write("half");
    CHECK_FALSE(store.blobs.find_blob(sha256("half")));
  }
  CHECK(count_files(store.path / "blobs/sha256") == 0);
  CHECK(count_files(store.path / "work") == 0);
  CHECK_THROWS_AS((void)store.blobs.open_blob(sha256("half")), Error);
}

TEST_CASE("many writers of one blob all succeed") {
  Store store;
  const std::string bytes(300'000, 'x');
  std::vector<std::jthread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([&] {
      const auto writer = store.blobs.create();
      writer->write(bytes);
      writer->commit(sha256(bytes));
    });
  }
  writers.clear();
  CHECK(load_blob(store.blobs, sha256(bytes), 1 << 20) == bytes);
  CHECK(count_files(store.path / "work") == 0);
}

TEST_CASE("a damaged blob is reported, set aside and can be stored again") {
  Store store;
  const Digest digest = put_blob(store.blobs, "some bytes");
  fs::remove(store.file(digest));
  std::ofstream(store.file(digest)) << "other byte";
  CHECK_THROWS_WITH_AS(load_blob(store.blobs, digest, 100), doctest::Contains("does not match"),
                       IntegrityError);
  CHECK_FALSE(store.blobs.find_blob(digest));
  CHECK(count_files(store.path / "corrupt") == 1);
  put_blob(store.blobs, "some bytes");
  CHECK(load_blob(store.blobs, digest, 100) == "some bytes");
}

TEST_CASE("a blob that a power loss cut short is replaced when it is written again") {
  Store store;
  const Digest digest = sha256("some bytes");
  std::ofstream(store.file(digest)) << "some";
  const auto writer = store.blobs.create();
  writer->write("some bytes");
  writer->commit(digest);
  CHECK(load_blob(store.blobs, digest, 100) == "some bytes");
}

TEST_CASE("a link in the place of a blob is not followed") {
  Store store;
  const Digest digest = sha256("x");
  std::ofstream(store.path / "secret") << "x";
  fs::create_symlink(store.path / "secret", store.file(digest));
  CHECK_THROWS_AS((void)store.blobs.find_blob(digest), IntegrityError);
  CHECK_THROWS_AS((void)store.blobs.open_blob(digest), Error);
}

TEST_CASE("the safe store gives the same blobs") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "store");
  Syncer syncer;
  DiskBlobStore blobs(dir.fd(), {.syncer = &syncer});
  const Digest digest = put_blob(blobs, "durable");
  blobs.sync_published();
  CHECK(load_blob(blobs, digest, 100) == "durable");
}

TEST_CASE("a tag is found, moved, listed by name and removed") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "tags");
  DiskImageStore tags(dir.fd());
  const Reference b = Reference::parse("b:1"), a = Reference::parse("a:1");
  CHECK_FALSE(tags.find(a));
  tags.tag(b, target('1'), {5, 0});
  tags.tag(a, target('2'), {6, 0});
  tags.tag(b, target('3'), {7, 0});
  CHECK(tags.find(b)->target.digest == target('3').digest);
  CHECK(tags.find(b)->updated.seconds == 7);
  const auto all = tags.list();
  REQUIRE(all.size() == 2);
  CHECK(all[0].name == a);
  CHECK(tags.untag(a));
  CHECK_FALSE(tags.untag(a));
  CHECK_FALSE(tags.find(a));
}

TEST_CASE("a tag file with garbage is a name that is not there") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "tags");
  DiskImageStore tags(dir.fd());
  const Reference name = Reference::parse("a:1");
  tags.tag(name, target('1'), {5, 0});
  const fs::path folder = fs::read_symlink("/proc/self/fd/" + std::to_string(dir.fd())) / "tags";
  const fs::path file = *fs::directory_iterator(folder);
  for (const std::string garbage : {"", "{", "{\"version\":1}", "{\"version\":2,\"name\":\"a:1\"}"}) {
    std::ofstream(file, std::ios::trunc) << garbage;
    CAPTURE(garbage);
    CHECK_FALSE(tags.find(name));
    CHECK(tags.list().empty());
  }
  tags.tag(name, target('1'), {5, 0});
  CHECK(tags.find(name));
}

namespace {

void overwrite(const fs::path& file, const std::string& bytes) {
  fs::permissions(file, fs::perms::owner_write, fs::perm_options::add);
  std::ofstream(file, std::ios::binary | std::ios::in | std::ios::out) << bytes;
}

}  // namespace

TEST_CASE("a blob somebody wrote to is no blob for whoever asks for it (ATK-141, FLT-15)") {
  Store store;
  const Digest digest = put_blob(store.blobs, "some bytes");
  overwrite(store.file(digest), "Some bytes");
  CHECK_FALSE(store.blobs.find_blob(digest));
  CHECK(store.blobs.set_aside() == std::vector<Digest>{digest});
  CHECK(fs::exists(store.path / "corrupt" / digest.hex()));
  CHECK(put_blob(store.blobs, "some bytes") == digest);
  CHECK(load_blob(store.blobs, digest, 100) == "some bytes");
}

TEST_CASE("a tampered blob is never exported: its file is not given out (FLT-15)") {
  Store store;
  const Digest digest = put_blob(store.blobs, "some bytes");
  overwrite(store.file(digest), "Some bytes");
  CHECK_THROWS_AS(store.blobs.open_blob_file(digest), Error);
}

TEST_CASE("after a restart a blob is hashed once, then believed again (STO-8)") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "store");
  const fs::path path = fs::read_symlink("/proc/self/fd/" + std::to_string(dir.fd()));
  Digest good = sha256("good"), torn = sha256("torn apart");
  {
    DiskBlobStore before(dir.fd(), {.epoch = 1});
    put_blob(before, "good");
    put_blob(before, "torn apart");
  }
  const auto file = [&](const Digest& digest) { return path / "blobs/sha256" / digest.hex(); };
  // What a power loss does: the size is there, the bytes are not, and the times are those of before.
  const auto stamp = fs::last_write_time(file(torn));
  overwrite(file(torn), std::string(10, '\0'));
  fs::last_write_time(file(torn), stamp);
  DiskBlobStore after(dir.fd(), {.epoch = 2});
  CHECK(after.find_blob(good) == 4);
  CHECK_FALSE(after.find_blob(torn));
  struct stat info {};
  REQUIRE(::stat(file(good).c_str(), &info) == 0);
  CHECK(info.st_mtim.tv_sec == 2);
}

TEST_CASE("what was synced needs no second look after a restart (STO-7)") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "store");
  const fs::path path = fs::read_symlink("/proc/self/fd/" + std::to_string(dir.fd()));
  Syncer syncer;
  DiskBlobStore safe(dir.fd(), {.syncer = &syncer, .epoch = 1});
  const Digest digest = put_blob(safe, "bytes");
  safe.sync_published();
  CHECK(syncer.totals().calls == 2);
  struct stat info {};
  REQUIRE(::stat((path / "blobs/sha256" / digest.hex()).c_str(), &info) == 0);
  CHECK(info.st_mtim.tv_sec == 0);
}

TEST_CASE("a blob is leased before it is looked for, as long as the store is open (STO-21)") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "store");
  KeyLocks remover(dir.fd(), "locks");
  const Digest digest = sha256("bytes");
  {
    KeyLocks leases(dir.fd(), "locks");
    DiskBlobStore blobs(dir.fd(), {.leases = &leases});
    CHECK_FALSE(blobs.find_blob(digest));
    CHECK_FALSE(remover.try_take(KeyLocks::key_of(digest)));
  }
  CHECK(remover.try_take(KeyLocks::key_of(digest)));
}

TEST_CASE("a name that is given again with the same target is not written") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "store");
  DiskImageStore images(dir.fd());
  const auto name = Reference::parse("app:1");
  images.tag(name, target('a'), {1, 0});
  images.tag(name, target('a'), {2, 0});
  CHECK(images.find(name)->updated == Timestamp{1, 0});
  images.tag(name, target('b'), {3, 0});
  CHECK(images.find(name)->updated == Timestamp{3, 0});
}
