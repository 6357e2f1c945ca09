#include "builder/pending_layer.h"

#include <fcntl.h>

#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/root_dir.h"
#include "base/stream.h"
#include "base/strings.h"
#include "builder/layer_content.h"

namespace imgbuild::builder {

namespace {

/// Files of a pending layer from its directory, and all others from the layers below.
class PendingContent final : public ContentProvider {
 public:
  PendingContent(std::shared_ptr<ContentProvider> below, const PendingLayer& top)
      : below_(std::move(below)), id_(top.id()), files_(top.files()) {}

  oci::ContentOpener open(const oci::ContentOrigin& origin) override {
    if (origin.layer != id_) return below_->open(origin);
    return [files = files_, path = origin.path] {
      return std::make_unique<FileSource>(files->open_file(path), path);
    };
  }

 private:
  std::shared_ptr<ContentProvider> below_;
  const oci::DiffId id_;
  std::shared_ptr<const FrozenUpper> files_;
};

}  // namespace

Below::Below(Snapshot snapshot) : stored_(std::make_shared<const Snapshot>(std::move(snapshot))) {}
Below::Below(std::shared_ptr<const PendingLayer> top) : stored_(top->below()), pending_(std::move(top)) {}

const Digest& Below::key() const noexcept { return pending_ ? pending_->key() : stored_->key; }
bool Below::forced() const noexcept { return pending_ ? pending_->forced() : stored_->forced; }
const Snapshot& Below::snapshot() const { return pending_ ? pending_->wait() : *stored_; }

PendingLayer::PendingLayer(const Below& below, const Digest& key, bool forced, oci::LayerIndex index,
                           std::shared_ptr<const FrozenUpper> files)
    : key_(key),
      forced_(forced),
      id_{sha256(cat("pending layer\n", key.str()))},
      index_(std::move(index)),
      files_(std::move(files)),
      below_(below) {}

std::shared_ptr<const Snapshot> PendingLayer::below() const {
  const Below below = [this] {
    const std::lock_guard guard(mutex_);
    return below_;
  }();
  return std::make_shared<const Snapshot>(below.snapshot());
}

void PendingLayer::stored(const Snapshot& after) const {
  {
    const std::lock_guard guard(mutex_);
    after_ = after;
    below_ = Below(below_.snapshot());
  }
  ended_.notify_all();
}

void PendingLayer::failed() const noexcept {
  {
    const std::lock_guard guard(mutex_);
    failed_ = true;
  }
  ended_.notify_all();
}

const Snapshot& PendingLayer::wait() const {
  std::unique_lock guard(mutex_);
  ended_.wait(guard, [this] { return failed_ || after_; });
  if (!after_) throw Cancelled();
  return *after_;
}

oci::FileTree tree_below(Host& host, const Below& below) {
  oci::FileTree tree = host.indexes.tree(below.stored().layers);
  const PendingLayer* const top = below.pending();
  return top == nullptr ? tree : tree.apply(top->index(), top->id());
}

std::shared_ptr<ContentProvider> content_below(Host& host, const Below& below) {
  auto content = layer_content(host, below.stored().layers);
  if (below.pending() == nullptr) return content;
  return std::make_shared<PendingContent>(std::move(content), *below.pending());
}

std::unique_ptr<WritableSnapshot> prepare_on(Host& host, const Below& below) {
  const auto& layers = below.stored().layers;
  host.bases.fetch(layers);
  Snapshotter& snapshots = *host.run().snapshots;
  if (below.pending() == nullptr) return snapshots.prepare(layers);
  return snapshots.prepare_on(layers, {below.pending()->id(), below.pending()->files()});
}

}  // namespace imgbuild::builder
