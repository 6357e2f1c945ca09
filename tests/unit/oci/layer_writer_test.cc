#include "oci/layer_writer.h"

#include <doctest/doctest.h>

#include <atomic>

#include "base/error.h"
#include "tests/support/layer_entries.h"
#include "tests/support/memory_blob_store.h"

using namespace imgbuild;
using namespace imgbuild::oci;
using namespace imgbuild::tests;

namespace {

std::string plain_of(const MemoryBlobStore& store, const LayerBlob& layer, CompressionKind kind) {
  const auto plain = make_decompressor(kind, store.open_blob(layer.blob.digest));
  return read_all(*plain, 1u << 30, "layer");
}

/// Text and noise enough for several blocks.
std::vector<PendingEntry> big_entries() {
  std::vector<PendingEntry> entries = {pending(dir_entry("d"))};
  std::uint32_t state = 1;
  for (int i = 0; i < 40; ++i) {
    std::string content;
    const std::size_t size = static_cast<std::size_t>(1) << (i % 20);
    while (content.size() < size) {
      state = state * 1664525u + 1013904223u;
      content += i % 3 == 0 ? std::string(1, static_cast<char>(state >> 24)) : std::to_string(state >> 20);
    }
    entries.push_back(pending(file_entry("d/" + std::to_string(100 + i)), content));
  }
  return entries;
}

}  // namespace

TEST_CASE("the empty layer is the blob everybody has") {
  MemoryBlobStore store;
  const auto written = write_layer({}, {CompressionKind::gzip, {}}, store, nullptr);
  CHECK(written.layer.diff_id.value.str() ==
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef");
  CHECK(written.layer.blob.digest.str() ==
        "sha256:4f4fb700ef54461cfa02571ae0db9a0dc1e0cdb5577484a6d75e68dc38e8acc1");
  CHECK(written.layer.blob.size == 32);
  CHECK(written.layer.blob.media_type == "application/vnd.oci.image.layer.v1.tar+gzip");
}

TEST_CASE("digest, size and diff ID are those of the stored bytes") {
  for (const auto kind : {CompressionKind::none, CompressionKind::gzip, CompressionKind::zstd}) {
    MemoryBlobStore store;
    ThreadPool pool(2);
    const auto written = write_layer(big_entries(), {kind, {}}, store, &pool);
    CAPTURE(written.layer.blob.media_type);
    CHECK(store.find_blob(written.layer.blob.digest) == written.layer.blob.size);
    CHECK(sha256(plain_of(store, written.layer, kind)) == written.layer.diff_id.value);
    CHECK(written.index.entries.size() == 41);
  }
}

TEST_CASE("the bytes do not depend on the number of threads") {
  for (const auto kind : {CompressionKind::gzip, CompressionKind::zstd}) {
    MemoryBlobStore store;
    const auto entries = big_entries();
    const Digest expected = write_layer(entries, {kind, {}}, store, nullptr).layer.blob.digest;
    for (const std::size_t threads : {1u, 2u, 4u, 8u}) {
      ThreadPool pool(threads);
      CAPTURE(threads);
      CHECK(write_layer(entries, {kind, {}}, store, &pool).layer.blob.digest == expected);
    }
    CHECK(store.count() == 1);
  }
}

TEST_CASE("layers can be written by tasks of the pool that compresses them") {
  MemoryBlobStore store;
  const auto entries = big_entries();
  ThreadPool pool(2);
  std::vector<std::future<Digest>> written;
  for (int i = 0; i < 6; ++i) {
    written.push_back(pool.submit([&] { return write_layer(entries, {}, store, &pool).layer.blob.digest; }));
  }
  const Digest first = written.front().get();
  for (std::size_t i = 1; i < written.size(); ++i) CHECK(written[i].get() == first);
}

TEST_CASE(
    "the index tells what is in the tar: times in seconds, clamped, and content digests when asked for") {
  MemoryBlobStore store;
  auto old = pending(file_entry("a"), "hello");
  old.entry.attributes.mtime = {5, 7};
  auto young = pending(file_entry("b"));
  young.entry.attributes.mtime = {50, 7};
  auto known = pending(file_entry("c"), "x");
  known.entry.content = sha256("trusted");
  WriteLayerOptions options{.tar = {.clamp_mtime = 10}, .compute_content = true};
  const auto written =
      write_layer({old, young, known, pending(hard_link_entry("d", "a"))}, {}, store, nullptr, options);
  const auto& entries = written.index.entries;
  CHECK(entries[0].attributes.mtime == Timestamp{5, 0});
  CHECK(entries[1].attributes.mtime == Timestamp{10, 0});
  CHECK(entries[0].content == sha256("hello"));
  CHECK(entries[1].content == sha256(""));
  CHECK(entries[2].content == sha256("trusted"));
  CHECK_FALSE(entries[3].content);
  CHECK_FALSE(write_layer({old}, {}, store, nullptr).index.entries[0].content);
}

namespace {

/// Counts how often it is opened and how much is read, over all threads.
struct Counters {
  std::atomic<int> opens = 0;
  std::atomic<std::uint64_t> bytes = 0;
};

class CountingSource final : public Source {
 public:
  CountingSource(std::string text, Counters& counters) : from_(std::move(text)), counters_(counters) {}
  std::size_t read(std::span<char> buffer) override {
    const std::size_t got = from_.read(buffer);
    counters_.bytes += got;
    return got;
  }

 private:
  StringSource from_;
  Counters& counters_;
};

PendingEntry counted(const std::string& path, const std::string& text, Counters& counters) {
  PendingEntry out = pending(file_entry(path), text);
  out.open = [text, &counters] {
    ++counters.opens;
    return std::make_unique<CountingSource>(text, counters);
  };
  return out;
}

}  // namespace

TEST_CASE("every file is opened once and each of its bytes read once, small or large, whatever is asked") {
  for (const bool compute : {false, true}) {
    Counters counters;
    std::vector<PendingEntry> entries = {pending(dir_entry("d"))};
    std::uint64_t total = 0;
    for (int i = 0; i < 300; ++i) {
      const std::string text(static_cast<std::size_t>(i == 150 ? 3 << 20 : i * 37),
                             static_cast<char>('a' + i % 26));
      total += text.size();
      const std::string path = "d/" + std::to_string(1000 + i);
      entries.push_back(text.empty() ? pending(file_entry(path)) : counted(path, text, counters));
      if (i % 50 == 0) entries.push_back(pending(symlink_entry(path + "l", "x")));
    }
    MemoryBlobStore store;
    ThreadPool pool(3);
    WriteLayerOptions options{.compute_content = compute};
    const auto written = write_layer(entries, {}, store, &pool, options);
    CHECK(counters.opens == 299);
    CHECK(counters.bytes == total);
    CHECK(written.layer.blob.digest == write_layer(entries, {}, store, nullptr, options).layer.blob.digest);
    if (compute) CHECK(written.index.entries.back().content == sha256(std::string(299 * 37, 'a' + 299 % 26)));
  }
}

TEST_CASE("a small file that is longer or shorter than announced is an error") {
  for (const int change : {-1, 1, 500}) {
    CAPTURE(change);
    auto entries = big_entries();
    PendingEntry wrong = pending(file_entry("d/zz"), std::string(1000, 'x'));
    wrong.entry.attributes.size = static_cast<std::uint64_t>(1000 - change);
    entries.push_back(wrong);
    MemoryBlobStore store;
    ThreadPool pool(2);
    CHECK_THROWS_WITH_AS((void)write_layer(entries, {}, store, &pool),
                         doctest::Contains("changed while it was read"), Error);
    CHECK(store.count() == 0);
  }
}

TEST_CASE("nothing is stored when a file cannot be read") {
  MemoryBlobStore store;
  ThreadPool pool(2);
  auto entries = big_entries();
  entries.back().open = []() -> std::unique_ptr<Source> { throw Error("gone"); };
  CHECK_THROWS_WITH_AS((void)write_layer(entries, {}, store, &pool), "gone", Error);
  CHECK(store.count() == 0);
}
