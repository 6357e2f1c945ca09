#include "builder/pending_layer.h"

#include <doctest/doctest.h>

#include <thread>

#include "base/error.h"
#include "base/hash.h"

using namespace imgbuild;
using namespace imgbuild::builder;

namespace {

struct NoFiles final : FrozenUpper {
  int fd() const noexcept override { return -1; }
  UniqueFd open_file(const std::string&) const override { return {}; }
};

Snapshot snapshot_of(const std::string& name) {
  return Snapshot{}.with({.blob = {.media_type = "t", .digest = sha256("blob " + name), .size = 1},
                          .diff_id = {sha256("diff " + name)}},
                         sha256("key " + name), false);
}

std::shared_ptr<const PendingLayer> pending_on(const Below& below, const std::string& name,
                                               std::shared_ptr<const FrozenUpper> files = {}) {
  return std::make_shared<const PendingLayer>(below, sha256("key " + name), true, oci::LayerIndex(),
                                              files ? files : std::make_shared<const NoFiles>());
}

}  // namespace

TEST_CASE("what is below a step is known but for the layer that is being written") {
  const Below base(snapshot_of("base"));
  CHECK(base.pending() == nullptr);
  CHECK(base.key() == sha256("key base"));
  CHECK_FALSE(base.forced());

  const auto layer = pending_on(base, "a");
  const Below below(layer);
  CHECK(below.key() == sha256("key a"));
  CHECK(below.forced());
  CHECK(below.stored().layers.size() == 1);
  REQUIRE(below.pending() == layer.get());
}

TEST_CASE("whoever needs the whole stack waits until the layer is stored") {
  const auto layer = pending_on(Below(snapshot_of("base")), "a");
  const Below below(layer);
  const Snapshot after = below.stored().with(snapshot_of("a").layers[0], below.key(), true);
  std::jthread writer([&] { layer->stored(after); });
  CHECK(below.snapshot().layers.size() == 2);
  CHECK(below.snapshot().chain == after.chain);
}

TEST_CASE("a layer that failed cancels whoever waits for it") {
  const auto layer = pending_on(Below(snapshot_of("base")), "a");
  std::jthread writer([&] { layer->failed(); });
  CHECK_THROWS_AS(Below(layer).snapshot(), Cancelled);
}

TEST_CASE(
    "a layer on top of a pending one lies on stored layers once that is stored, and holds it no longer") {
  const Below base(snapshot_of("base"));
  const auto files = std::make_shared<const NoFiles>();
  auto first = pending_on(base, "a", files);
  const auto second = pending_on(Below(first), "b");
  const Snapshot after_first = base.stored().with(snapshot_of("a").layers[0], first->key(), true);
  first->stored(after_first);
  first.reset();
  CHECK(Below(second).stored().layers.size() == 2);
  CHECK(files.use_count() == 2);  // the second may need the first one's files until it is stored itself
  second->stored(after_first.with(snapshot_of("b").layers[0], second->key(), true));
  CHECK(files.use_count() == 1);
}
