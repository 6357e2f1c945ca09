#include "cache/cache_store.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "cache/record_codec.h"

using namespace imgbuild;

namespace {

cache::CacheRecord sample(const std::string& name, const std::string& slot = {}) {
  oci::Descriptor blob{.media_type = "application/vnd.oci.image.layer.v1.tar+gzip",
                       .digest = sha256("blob of " + name),
                       .size = 12345678901};
  return {.key = sha256(name),
          .layer = {std::move(blob), {sha256("tar of " + name)}},
          .parent_chain = sha256("parent"),
          .created = {1700000000, 123456789},
          .inputs = {{"argv", "make\nall"}, {"env", std::string("A=\0B", 4)}, {"", ""}},
          .step = "build: RUN make",
          .slot = slot};
}

bool same(const cache::CacheRecord& a, const cache::CacheRecord& b) {
  return a.key == b.key && a.layer.blob == b.layer.blob && a.layer.diff_id == b.layer.diff_id &&
         a.parent_chain == b.parent_chain && a.created == b.created && a.inputs == b.inputs &&
         a.step == b.step && a.slot == b.slot;
}

std::string record_path(const Digest& key) { return cat("cache/", key.hex().substr(0, 2), "/", key.hex()); }

void overwrite(int dir, const std::string& path, std::string_view bytes) {
  const UniqueFd fd = open_at(dir, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  write_all(fd.get(), bytes);
}

}  // namespace

TEST_CASE("a record comes back as it was put, also by another process") {
  const TempDir dir = TempDir::create("/tmp", "cache-store-");
  auto record = sample("one", "build/3");
  record.layer.blob.urls = {"https://example.com/a"};
  record.layer.blob.annotations = {{"k", "v"}, {"", ""}};
  record.layer.blob.platform = oci::Platform{};
  record.layer.blob.platform->os_features = {"x", "y"};
  record.layer.blob.artifact_type = "t";
  cache::open_cache_store(dir.fd())->put_record(record);
  const auto found = cache::open_cache_store(dir.fd())->find_record(record.key);
  REQUIRE(found);
  CHECK(same(*found, record));
  CHECK_FALSE(cache::open_cache_store(dir.fd())->find_record(sha256("two")));
}

TEST_CASE("a record on scratch from before 1970 comes back") {
  auto record = sample("early");
  record.parent_chain.reset();
  record.created = {-5, 7};
  const auto found = cache::decode_record(cache::encode_record(record));
  REQUIRE(found);
  CHECK(same(*found, record));
}

TEST_CASE("a later record replaces an earlier one with its key") {
  const TempDir dir = TempDir::create("/tmp", "cache-store-");
  const auto store = cache::open_cache_store(dir.fd());
  auto record = sample("one");
  store->put_record(record);
  record.step = "later";
  store->put_record(record);
  CHECK(store->find_record(record.key)->step == "later");
}

TEST_CASE("every cut and every changed byte of a record is noticed") {
  const std::string bytes = cache::encode_record(sample("one"));
  REQUIRE(cache::decode_record(bytes));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(cache::decode_record(bytes.substr(0, size)));
    std::string changed = bytes;
    changed[size] = static_cast<char>(changed[size] ^ 0x10);
    CHECK_FALSE(cache::decode_record(changed));
  }
  CHECK_FALSE(cache::decode_record(bytes + "x"));
}

TEST_CASE("a record that cannot be read is a record that is not there") {
  const TempDir dir = TempDir::create("/tmp", "cache-store-");
  const auto store = cache::open_cache_store(dir.fd());
  const auto record = sample("one");
  store->put_record(record);
  const std::string path = record_path(record.key);

  SUBCASE("empty, as after a power failure") { overwrite(dir.fd(), path, ""); }
  SUBCASE("garbage") { overwrite(dir.fd(), path, std::string(1000, '\xff')); }
  SUBCASE("another key's record") { overwrite(dir.fd(), path, cache::encode_record(sample("two"))); }
  SUBCASE("a directory") {
    REQUIRE(::unlinkat(dir.fd(), path.c_str(), 0) == 0);
    REQUIRE(::mkdirat(dir.fd(), path.c_str(), 0700) == 0);
  }
  SUBCASE("a FIFO") {
    REQUIRE(::unlinkat(dir.fd(), path.c_str(), 0) == 0);
    REQUIRE(::mkfifoat(dir.fd(), path.c_str(), 0600) == 0);
  }
  SUBCASE("a link") {
    REQUIRE(::renameat(dir.fd(), path.c_str(), dir.fd(), "elsewhere") == 0);
    REQUIRE(::symlinkat("../../elsewhere", dir.fd(), path.c_str()) == 0);
  }
  CHECK_FALSE(store->find_record(record.key));
}

TEST_CASE("records are found by their slot, newest last, each once") {
  const TempDir dir = TempDir::create("/tmp", "cache-store-");
  const auto store = cache::open_cache_store(dir.fd());
  for (const char* name : {"a", "b", "c", "a"}) store->put_record(sample(name, "build/3/linux/amd64"));
  store->put_record(sample("other", "build/4/linux/amd64"));
  store->put_record(sample("nowhere"));
  const auto records = store->find_by_slot("build/3/linux/amd64");
  REQUIRE(records.size() == 3);
  CHECK(records[0].key == sha256("b"));
  CHECK(records[1].key == sha256("c"));
  CHECK(records[2].key == sha256("a"));
  CHECK(store->find_by_slot("never").empty());
  CHECK(store->find_by_slot("").empty());
}

TEST_CASE("a slot stays small and survives damage") {
  const TempDir dir = TempDir::create("/tmp", "cache-store-");
  const auto store = cache::open_cache_store(dir.fd());
  const std::string slot = "s";
  for (int i = 0; i < 300; ++i) store->put_record(sample(cat("step ", i), slot));
  const auto records = store->find_by_slot(slot);
  REQUIRE(records.size() == 8);
  CHECK(records.back().key == sha256("step 299"));

  const std::string hex = sha256(slot).hex();
  const std::string path = cat("cache/slots/", hex.substr(0, 2), "/", hex);
  struct stat info {};
  REQUIRE(::fstatat(dir.fd(), path.c_str(), &info, 0) == 0);
  CHECK(info.st_size < 65 * 65);

  overwrite(dir.fd(), path, "garbage\n" + sha256("step 7").hex() + "\n" + sha256("step 8").hex().substr(5));
  const auto left = store->find_by_slot(slot);
  REQUIRE(left.size() == 1);
  CHECK(left[0].key == sha256("step 7"));
}

TEST_CASE("very long inputs are left out of a record, the layer is not") {
  const TempDir dir = TempDir::create("/tmp", "cache-store-");
  const auto store = cache::open_cache_store(dir.fd());
  auto record = sample("big");
  record.inputs = {{"files", std::string(3u << 20, 'x')}};
  store->put_record(record);
  const auto found = store->find_record(record.key);
  REQUIRE(found);
  CHECK(found->inputs.empty());
  CHECK(found->layer.blob == record.layer.blob);
}

TEST_CASE("several threads put and find at once and never see half a record") {
  const TempDir dir = TempDir::create("/tmp", "cache-store-");
  const auto store = cache::open_cache_store(dir.fd());
  const auto record = sample("shared", "slot");
  store->put_record(record);
  std::atomic<int> missed{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 100; ++i) {
          if (t % 2 == 0)
            store->put_record(record);
          else if (!store->find_record(record.key))
            ++missed;
        }
      });
    }
  }
  CHECK(missed == 0);
  CHECK(store->find_by_slot("slot").size() == 1);
}
