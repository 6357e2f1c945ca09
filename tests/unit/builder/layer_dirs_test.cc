#include "builder/layer_dirs.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "builder/overlay_mount.h"
#include "builder/overlay_snapshotter.h"
#include "oci/layer_writer.h"
#include "tests/support/layer_entries.h"
#include "tests/support/memory_blob_store.h"
#include "tests/support/requires.h"

using namespace imgbuild;
using namespace imgbuild::builder;

namespace {

struct Store {
  Store()
      : dir(TempDir::create("/var/tmp", "imgbuild-layers-test-")),
        indexes(dir.fd(), blobs, [](const oci::LayerBlob&) {}) {}

  oci::LayerBlob add_layer(const std::vector<oci::PendingEntry>& entries) {
    const auto written = oci::write_layer(entries, {}, blobs, nullptr);
    indexes.put(written.layer.diff_id, written.index);
    return written.layer;
  }
  OverlaySnapshotter snapshotter() {
    return OverlaySnapshotter(dir.fd(), blobs, indexes, tests::overlay_flavour());
  }
  std::string layer_path(const oci::ChainId& chain) const { return cat("layers/", chain.value.hex()); }

  TempDir dir;
  tests::MemoryBlobStore blobs;
  LayerIndexes indexes;
};

oci::PendingEntry file(const std::string& path, const std::string& text) {
  return {tests::file_entry(path, text.size()), [text] { return std::make_unique<StringSource>(text); }};
}

bool exists(int dir, const std::string& name) {
  struct stat info {};
  return ::fstatat(dir, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
}

/// The snapshot's files through a mounted overlay.
UniqueFd mounted(const WritableSnapshot& snapshot) {
  const auto spec = snapshot.rootfs();
  return mount_overlay({spec.lower_dirs, spec.upper_dir, spec.work_dir}, tests::overlay_flavour());
}

void write_file(int dir, const std::string& name, const std::string& text) {
  write_all(open_at(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0644).get(), text);
}

}  // namespace

TEST_CASE("a snapshot shows its layers, and what is written to it becomes a layer") {
  if (tests::lacks_root()) return;
  Store store;
  auto snapshots = store.snapshotter();
  std::vector<oci::LayerBlob> layers = {
      store.add_layer({file("a", "one"), file("b", "two")}),
      store.add_layer(
          {{tests::special_entry("b", oci::LayerEntry::Kind::whiteout), {}}, file("c", "three")})};
  const auto chain = oci::chain(oci::chain(std::nullopt, layers[0].diff_id), layers[1].diff_id);
  const auto snapshot = snapshots.prepare(layers);
  {
    const UniqueFd root = mounted(*snapshot);
    CHECK(read_file_at(root.get(), "a", 10) == "one");
    CHECK_FALSE(exists(root.get(), "b"));
    write_file(root.get(), "new", "four");
    REQUIRE(::unlinkat(root.get(), "c", 0) == 0);
  }
  CHECK(exists(store.dir.fd(), store.layer_path(chain) + "/meta"));
  const auto entries = snapshot->diff(store.indexes.tree(layers));
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].entry.kind == oci::LayerEntry::Kind::whiteout);
  CHECK(entries[0].entry.path == "c");
  CHECK(entries[1].entry.path == "new");

  layers.push_back(store.add_layer(entries));
  const auto next = oci::chain(chain, layers[2].diff_id);
  snapshot->commit(next, layers[2].diff_id);
  CHECK(exists(store.dir.fd(), store.layer_path(next) + "/fs/new"));
  CHECK(read_all(*entries[1].open(), 10, "new") == "four");  // the openers survive the commit

  const auto content = snapshots.content(layers);
  CHECK(read_all(*content->open({layers[2].diff_id, "new"})(), 10, "new") == "four");
  CHECK(read_all(*content->open({layers[0].diff_id, "a"})(), 10, "a") == "one");
  CHECK_THROWS_AS(content->open({layers[0].diff_id, "../../../../etc/passwd"})(), Error);

  const auto again = snapshots.prepare(layers);
  CHECK(again->rootfs().lower_dirs.size() == 3);
  const UniqueFd root = mounted(*again);
  CHECK(read_file_at(root.get(), "new", 10) == "four");
  CHECK_FALSE(exists(root.get(), "c"));
}

TEST_CASE("a command can start on the files of the one before it, whatever becomes of their layer") {
  if (tests::lacks_root()) return;
  Store store;
  auto snapshots = store.snapshotter();
  const oci::DiffId id{sha256("to come")};
  for (const bool stored_by_another : {false, true}) {
    CAPTURE(stored_by_another);
    auto first = snapshots.prepare({});
    {
      const UniqueFd root = mounted(*first);
      write_file(root.get(), stored_by_another ? "b" : "a", "one");
    }
    const auto entries = first->diff({});
    const auto files = first->freeze();
    REQUIRE(files);
    auto second = snapshots.prepare_on({}, {id, files});
    const oci::FileTree below = oci::FileTree().apply(oci::index_before_writing(entries, {}), id);
    UniqueFd root = mounted(*second);
    const std::string name = stored_by_another ? "b" : "a";
    CHECK(read_file_at(root.get(), name.c_str(), 10) == "one");

    const oci::LayerBlob layer = store.add_layer(entries);
    const auto chain = oci::chain(std::nullopt, layer.diff_id);
    if (stored_by_another) snapshots.open_layers({layer});  // extracts it
    first->commit(chain, layer.diff_id);
    first.reset();
    CHECK(read_file_at(root.get(), name.c_str(), 10) == "one");
    // A copy that says the same as the file below is no change.
    REQUIRE(::fchmodat(root.get(), name.c_str(), 0600, 0) == 0);
    REQUIRE(::fchmodat(root.get(), name.c_str(), 0644, 0) == 0);
    write_file(root.get(), "new", "two");
    root.reset();
    const auto more = second->diff(below);
    REQUIRE(more.size() == 1);
    CHECK(more[0].entry.path == "new");
  }
}

TEST_CASE("a snapshot that is not committed leaves nothing, and none of the work area outlives its owner") {
  if (tests::lacks_root()) return;
  Store store;
  {
    auto snapshots = store.snapshotter();
    { const auto snapshot = snapshots.prepare({}); }
    const auto snapshot = snapshots.prepare({});
    const UniqueFd root = mounted(*snapshot);
    write_file(root.get(), "x", "y");
    CHECK(sweep_work(store.dir.fd()) == 0);  // its owner lives
    CHECK(exists(snapshot->rootfs().upper_dir, "x"));
  }
  ensure_dir_at(store.dir.fd(), "work/dead-1", 0700);
  ensure_dir_at(store.dir.fd(), "work/dead-1/u", 0700);
  CHECK(sweep_work(store.dir.fd()) == 1);
  CHECK_FALSE(exists(store.dir.fd(), "work/dead-1"));
}

TEST_CASE("incomplete or foreign layer directories are made anew") {
  if (tests::lacks_root()) return;
  Store store;
  const std::vector<oci::LayerBlob> layers = {store.add_layer({file("a", "one")})};
  const auto chain = oci::chain(std::nullopt, layers[0].diff_id);
  const std::string path = store.layer_path(chain);
  ensure_dir_at(store.dir.fd(), "layers", 0700);
  ensure_dir_at(store.dir.fd(), path, 0700);
  ensure_dir_at(store.dir.fd(), path + "/fs", 0755);
  SUBCASE("without meta") {}
  SUBCASE("with a meta that is cut off") { write_file(store.dir.fd(), path + "/meta", "imgbuild layer dir"); }
  SUBCASE("with a link in place of the files") {
    REQUIRE(::unlinkat(store.dir.fd(), (path + "/fs").c_str(), AT_REMOVEDIR) == 0);
    REQUIRE(::symlinkat("/etc", store.dir.fd(), (path + "/fs").c_str()) == 0);
  }
  auto snapshots = store.snapshotter();
  const auto open = snapshots.open_layers(layers);
  REQUIRE(open->fds().size() == 1);
  CHECK(read_file_at(open->fds()[0], "a", 10) == "one");
}

TEST_CASE("a layer whose bytes are damaged is not published") {
  if (tests::lacks_root()) return;
  Store store;
  auto layer = store.add_layer({file("a", "one")});
  layer.diff_id = store.add_layer({file("a", "two")}).diff_id;
  const auto chain = oci::chain(std::nullopt, layer.diff_id);
  auto snapshots = store.snapshotter();
  CHECK_THROWS_AS(snapshots.prepare({layer}), IntegrityError);
  CHECK_FALSE(exists(store.dir.fd(), store.layer_path(chain)));
}

TEST_CASE("several threads extract the same layers once") {
  if (tests::lacks_root()) return;
  Store store;
  std::vector<oci::LayerBlob> layers;
  for (int i = 0; i < 5; ++i) layers.push_back(store.add_layer({file(cat("f", i), "x")}));
  auto snapshots = store.snapshotter();
  std::vector<std::shared_ptr<LayerDirs>> opened(4);
  {
    std::vector<std::jthread> threads;
    for (auto& out : opened) threads.emplace_back([&] { out = snapshots.open_layers(layers); });
  }
  for (const auto& dirs : opened) CHECK(dirs->fds() == opened[0]->fds());
}

TEST_CASE("hundreds of layers, the same ones again and again, can be mounted") {
  if (tests::lacks_root()) return;
  Store store;
  auto snapshots = store.snapshotter();
  const auto one = store.add_layer({file("a", "1")}), two = store.add_layer({file("a", "2")});
  std::vector<oci::LayerBlob> layers;
  for (int i = 0; i < 300; ++i) layers.push_back(i % 2 == 0 ? one : two);
  const auto snapshot = snapshots.prepare(layers);
  const UniqueFd root = mounted(*snapshot);
  CHECK(read_file_at(root.get(), "a", 10) == "2");
}
