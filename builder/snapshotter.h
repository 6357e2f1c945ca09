#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "base/unique_fd.h"
#include "builder/content_provider.h"
#include "builder/sandbox.h"
#include "oci/blob_store.h"
#include "oci/descriptor.h"
#include "oci/file_tree.h"
#include "oci/layer_applier.h"

namespace imgbuild::builder {

/// The upper directory of a command that ended, to be a lower directory of the next one before its layer has
/// a name. It is there as long as somebody holds this, whatever becomes of the layer. Thread-safe.
class FrozenUpper {
 public:
  virtual ~FrozenUpper() = default;
  virtual int fd() const noexcept = 0;
  /// A regular file of it, for reading. Throws SystemError.
  virtual UniqueFd open_file(const std::string& path) const = 0;
};

/// A writable file system on top of a stack of layers, private to one RUN. Discarded in the destructor unless
/// committed.
class WritableSnapshot {
 public:
  virtual ~WritableSnapshot() = default;
  virtual RootfsSpec rootfs() const = 0;
  /// What changed against `lower`, the merged tree of the layers below, ordered and complete as a layer
  /// (parents included, no-ops left out; OVL-20…27, LAY-23…38). To be called after every process inside is
  /// gone. The openers read the upper directory and are valid until the snapshot goes away, committed or not.
  /// `clamp_mtime`: the layer's times will not be later than that. `pool` helps with large changes.
  virtual std::vector<oci::PendingEntry> diff(const oci::FileTree& lower,
                                              std::optional<std::int64_t> clamp_mtime = {},
                                              ThreadPool* pool = nullptr) = 0;
  /// Keeps the upper directory as the extracted form of the layer with this chain ID, so that it need not be
  /// extracted again. `diff_id` is what the layer written from diff() got.
  virtual void commit(const oci::ChainId& chain, const oci::DiffId& diff_id) = 0;
  /// After diff(), when no mount uses the directories any more: the upper directory, if it shows exactly what
  /// the layer will say; else nothing. It does not change from here on.
  virtual std::shared_ptr<const FrozenUpper> freeze() { return nullptr; }
  /// Leaves everything where it is, because process `pid` may still use it (0: which one is not known). The
  /// sweep of a later start takes it when the process is gone.
  virtual void leave_to(int pid) noexcept = 0;
};

/// Extracted layers held open (and safe from removal) while somebody reads or mounts them.
class LayerDirs {
 public:
  virtual ~LayerDirs() = default;
  /// Directory descriptors, top first; at least one (an empty directory when there are no layers).
  virtual const std::vector<int>& fds() const noexcept = 0;
  /// The one directory is a copy made for the caller, who may change it.
  virtual bool is_private_copy() const noexcept { return false; }
};

/// Makes snapshots and keeps layers extracted, by chain ID, once, shared by all builds on the store.
/// Thread-safe; several processes may share the directory (locks per chain ID, publication by rename: STO-5).
class Snapshotter {
 public:
  virtual ~Snapshotter() = default;
  /// Extracts what is missing of `layers` (base first; blobs must be stored), prepares a fresh writable one
  /// on top.
  virtual std::unique_ptr<WritableSnapshot> prepare(const std::vector<oci::LayerBlob>& layers) = 0;
  /// The same with the files of a layer on top of `layers` that is not stored yet; `id` stands for its diff
  /// ID in the tree that diff() gets. Only for what freeze() of a snapshot of this snapshotter returned.
  struct Top {
    oci::DiffId id;
    std::shared_ptr<const FrozenUpper> files;
  };
  virtual std::unique_ptr<WritableSnapshot> prepare_on(const std::vector<oci::LayerBlob>& layers, Top top);
  /// The extracted layers themselves, for mounting them read-only (RUN --mount=from=…).
  virtual std::shared_ptr<LayerDirs> open_layers(const std::vector<oci::LayerBlob>& layers) = 0;
  /// Bytes of the files of a snapshot made of `layers`; extracts layers lazily.
  virtual std::shared_ptr<ContentProvider> content(const std::vector<oci::LayerBlob>& layers) = 0;
};

}  // namespace imgbuild::builder
