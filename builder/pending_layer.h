#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

#include "builder/content_provider.h"
#include "builder/host.h"
#include "builder/snapshot.h"
#include "builder/snapshotter.h"
#include "oci/file_tree.h"
#include "oci/layer_index.h"

namespace imgbuild::builder {

class PendingLayer;

/// What a step starts from: a snapshot, or one whose top layer is still being written (docs/adr/0015). A
/// value. Thread-safe to read.
class Below {
 public:
  explicit Below(Snapshot snapshot);
  /// What `top` lies on must be stored.
  explicit Below(std::shared_ptr<const PendingLayer> top);

  /// The cache key of the step that led here, and Snapshot::forced: known at once.
  const Digest& key() const noexcept;
  bool forced() const noexcept;
  /// The whole stack. Waits for the top layer; throws Cancelled when that failed, which whoever wrote it
  /// reports.
  const Snapshot& snapshot() const;
  /// The layer that snapshot() may have to wait for; null when there is none.
  const PendingLayer* pending() const noexcept { return pending_.get(); }
  /// The stack without the pending layer.
  const Snapshot& stored() const noexcept { return *stored_; }

 private:
  std::shared_ptr<const Snapshot> stored_;
  std::shared_ptr<const PendingLayer> pending_;
};

/// The layer of a command that ended, between the moment its files are known and the one its blob and record
/// are stored. The next command of the stage may run on its files meanwhile.
class PendingLayer {
 public:
  /// `key` and `forced` are those of the snapshot to come. `index` says what the layer will hold (contents
  /// without their digests), `files` shows it.
  PendingLayer(const Below& below, const Digest& key, bool forced, oci::LayerIndex index,
               std::shared_ptr<const FrozenUpper> files);

  const Digest& key() const noexcept { return key_; }
  bool forced() const noexcept { return forced_; }
  /// What this layer lies on, which is stored by now or waited for.
  std::shared_ptr<const Snapshot> below() const;
  const oci::LayerIndex& index() const noexcept { return index_; }
  /// Stands for the diff ID, which is not known yet.
  const oci::DiffId& id() const noexcept { return id_; }
  const std::shared_ptr<const FrozenUpper>& files() const noexcept { return files_; }

  /// What became of it; called once, by whoever writes the layer, when what it lies on is stored. `after`:
  /// the snapshot with it on top.
  void stored(const Snapshot& after) const;
  void failed() const noexcept;
  /// Waits for either. Throws Cancelled when it failed.
  const Snapshot& wait() const;

 private:
  const Digest key_;
  const bool forced_;
  const oci::DiffId id_;
  const oci::LayerIndex index_;
  const std::shared_ptr<const FrozenUpper> files_;
  mutable std::mutex mutex_;
  mutable std::condition_variable ended_;
  mutable Below below_;  ///< without a pending layer once this one is stored, or chains of them would live on
  mutable std::optional<Snapshot> after_;
  mutable bool failed_ = false;
};

/// What a command sees of `below`, without waiting for a pending layer, whose files have PendingLayer::id()
/// in their origins.
oci::FileTree tree_below(Host& host, const Below& below);
std::shared_ptr<ContentProvider> content_below(Host& host, const Below& below);
/// Snapshotter::prepare() on `below`, whose layers are fetched.
std::unique_ptr<WritableSnapshot> prepare_on(Host& host, const Below& below);

}  // namespace imgbuild::builder
