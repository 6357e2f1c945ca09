#include "base/hash_chain.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <latch>
#include <random>
#include <string>

#include "base/overlapped_hash_sink.h"
#include "base/shared_buffers.h"

using namespace imgbuild;

namespace {

std::string random_text(std::size_t size) {
  std::mt19937 random(7);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

/// Calls `take(bytes, owner)` with pieces of all sizes, in buffers that are used again when nobody holds
/// them.
template <typename Take>
void in_pieces(std::string_view text, const Take& take) {
  SharedBuffers buffers(300'000);
  std::mt19937 random(3);
  while (!text.empty()) {
    const std::size_t size = std::min<std::size_t>(text.size(), 1 + random() % buffers.size());
    const auto buffer = buffers.take();
    std::memcpy(buffer.get(), text.data(), size);
    take(std::string_view(buffer.get(), size), buffer);
    text.remove_prefix(size);
  }
}

}  // namespace

TEST_CASE("a chain hashes what was added, in order, on any number of threads") {
  const std::string text = random_text(9'000'000);
  for (const std::size_t threads : {0, 1, 2, 4, 8}) {
    CAPTURE(threads);
    ThreadPool pool(std::max<std::size_t>(threads, 1));
    HashChain chain(threads == 0 ? nullptr : &pool);
    in_pieces(text, [&](std::string_view bytes, const std::shared_ptr<const void>& owner) {
      chain.add(bytes, owner);
    });
    CHECK(chain.digest() == sha256(text));
  }
}

TEST_CASE("a chain of nothing, and of one piece larger than what may wait") {
  ThreadPool pool(2);
  CHECK(HashChain(&pool).digest() == sha256(""));
  const auto large = std::make_shared<const std::string>(random_text(5'000'000));
  HashChain chain(&pool);
  chain.add(*large, large);
  chain.add("x", large);
  CHECK(chain.digest() == sha256(*large + "x"));
  CHECK(large.use_count() == 1);
}

TEST_CASE("a chain needs no free worker, and one that is given up holds nothing") {
  ThreadPool pool(1);
  std::latch busy(1);
  const auto blocked = pool.submit([&] { busy.wait(); });
  const std::string text = random_text(6'000'000);
  const auto owner = std::make_shared<int>(0);
  {
    HashChain chain(&pool);
    for (std::size_t at = 0; at < text.size(); at += 500'000) chain.add({text.data() + at, 500'000}, owner);
    CHECK(chain.digest() == sha256(text));
  }
  {
    HashChain chain(&pool);
    chain.add(text, owner);
  }
  CHECK(owner.use_count() == 1);
  busy.count_down();
  blocked.wait();
}

TEST_CASE("a hash sink takes shared and other bytes in their order, and passes both on") {
  const std::string text = random_text(4'000'000);
  for (const bool with_pool : {false, true}) {
    CAPTURE(with_pool);
    ThreadPool pool(2);
    StringSink out;
    OverlappedHashSink sink(out, with_pool ? &pool : nullptr);
    bool shared = false;
    in_pieces(text, [&](std::string_view bytes, const std::shared_ptr<const void>& owner) {
      shared = !shared;
      if (shared)
        sink.write_shared(bytes, owner);
      else
        sink.write(bytes);
    });
    CHECK(sink.digest() == sha256(text));
    CHECK(sink.size() == text.size());
    CHECK(out.text() == text);
  }
}
