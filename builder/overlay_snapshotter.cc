#include "builder/overlay_snapshotter.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/error.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "builder/diff.h"
#include "builder/overlay_mount.h"

namespace imgbuild::builder {

namespace {

UniqueFd make_dir(int parent, const std::string& name) {
  ensure_dir_at(parent, name, 0755);
  UniqueFd dir = open_at(parent, name, O_RDONLY | O_DIRECTORY);
  // The upper directory is the root of the merged view, whatever the umask of this process is.
  if (::fchmod(dir.get(), 0755) != 0) throw SystemError(errno, "chmod", name);
  return dir;
}

/// What a snapshot has on the disk. Whoever mounts its upper directory as a lower one shares it.
struct SnapshotDirs final : FrozenUpper {
  explicit SnapshotDirs(TempDir made)
      : dir(std::move(made)),
        layer(TempDir::create(dir.fd(), "l")),
        upper(std::make_shared<RootDir>(make_dir(layer.fd(), "fs"))),
        work(make_dir(dir.fd(), "w")) {}
  int fd() const noexcept override { return upper->fd(); }
  UniqueFd open_file(const std::string& path) const override {
    return upper->open_beneath(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  }

  TempDir dir;
  TempDir layer;  ///< goes first; becomes the layer's directory
  const std::shared_ptr<const RootDir> upper;
  const UniqueFd work;
  std::shared_ptr<const LayerDir> published;  ///< keeps others from removing the layer
};

class OverlaySnapshot final : public WritableSnapshot {
 public:
  OverlaySnapshot(LayerDirStore& store, WorkArea& work_area, std::shared_ptr<const OpenLayers> layers,
                  TempDir dir, oci::OverlayFlavour flavour, bool noted_owners, UpperWriter writer)
      : store_(store),
        work_area_(work_area),
        layers_(std::move(layers)),
        dirs_(std::make_shared<SnapshotDirs>(std::move(dir))),
        flavour_(flavour),
        noted_owners_(noted_owners),
        of_fuse_(writer == UpperWriter::fuse_overlayfs) {}

  RootfsSpec rootfs() const override {
    return {.lower_dirs = layers_->fds(), .upper_dir = dirs_->fd(), .work_dir = dirs_->work.get()};
  }

  std::vector<oci::PendingEntry> diff(const oci::FileTree& lower, std::optional<std::int64_t> clamp_mtime,
                                      ThreadPool* pool) override {
    DiffOptions options;
    options.pool = pool;
    options.clamp_mtime = clamp_mtime;
    options.noted_owners = noted_owners_;
    options.flavour = flavour_;
    options.of_fuse = of_fuse_;
    options.open_lower = [this](const oci::ContentOrigin& origin) { return layers_->open_file(origin); };
    try {
      found_ = diff_upper(dirs_->upper, lower, options);
    } catch (const ForeignForm&) {
      if (of_fuse_) throw;  // it was told not to, and only the kernel's overlays could show what it means
      found_ = diff_whole(lower, options);
    }
    return std::move(found_.entries);
  }

  std::shared_ptr<const FrozenUpper> freeze() override {
    // What fuse-overlayfs leaves becomes a layer's directory at commit only.
    if (!found_.upper_is_exact || of_fuse_) return nullptr;
    settle();
    return dirs_;
  }

  void commit(const oci::ChainId& chain, const oci::DiffId& diff_id) override {
    // What the layer says otherwise than the upper directory is extracted from the layer when somebody needs
    // it.
    if (found_.upper_is_exact && !committed_) {
      settle();
      if (settle_fuse_marks(*dirs_->upper, found_.fuse_marks, flavour_))
        dirs_->published = store_.publish(dirs_->layer, chain, diff_id);
    }
    committed_ = true;
  }

  void leave_to(int pid) noexcept override {
    dirs_->layer.release();
    dirs_->dir.release();
    work_area_.leave_to(pid);
  }

 private:
  void settle() {
    if (!std::exchange(settled_, true)) forget_untold_times(*dirs_->upper, found_);
  }

  /// The slow way, for a kernel that did in the upper directory what it was told not to do (OVL-10): all that
  /// there is to see is compared with all that there was.
  UpperDiff diff_whole(const oci::FileTree& lower, DiffOptions options) const {
    OverlayDirs dirs{.lower = {dirs_->fd()}};
    dirs.lower.insert(dirs.lower.end(), layers_->fds().begin(), layers_->fds().end());
    const auto view = std::make_shared<const RootDir>(mount_overlay(dirs, flavour_, {.follow = true}));
    options.whole = WholeTree{};
    UpperDiff found = diff_upper(view, lower, options);
    found.upper_is_exact = false;
    return found;
  }

  LayerDirStore& store_;
  WorkArea& work_area_;
  std::shared_ptr<const OpenLayers> layers_;
  const std::shared_ptr<SnapshotDirs> dirs_;
  const oci::OverlayFlavour flavour_;
  const bool noted_owners_;
  const bool of_fuse_;
  UpperDiff found_{.upper_is_exact = false};  ///< known after diff()
  bool settled_ = false;
  bool committed_ = false;
};

}  // namespace

OverlaySnapshotter::OverlaySnapshotter(const StoreDir& store, oci::BlobStore& blobs, LayerIndexes& indexes,
                                       oci::OverlayFlavour flavour, std::uint64_t epoch, Syncer* syncer,
                                       UseLog* uses, bool note_owners, UpperWriter writer)
    : flavour_(flavour),
      note_owners_(note_owners),
      writer_(writer),
      work_(store),
      empty_(make_dir(work_.fd(), "empty")),
      dirs_(store, blobs, indexes, work_,
            {.flavour = flavour,
             .make_devices = flavour == oci::OverlayFlavour::trusted,
             .epoch = epoch,
             .uses = uses,
             .syncer = syncer,
             .record_owner = note_owners}) {}

std::unique_ptr<WritableSnapshot> OverlaySnapshotter::prepare(const std::vector<oci::LayerBlob>& layers) {
  auto open = std::make_shared<const OpenLayers>(dirs_, layers, empty_.get());
  return std::make_unique<OverlaySnapshot>(dirs_, work_, std::move(open), work_.make_dir("r"), flavour_,
                                           note_owners_, writer_);
}

std::unique_ptr<WritableSnapshot> OverlaySnapshotter::prepare_on(const std::vector<oci::LayerBlob>& layers,
                                                                 Top top) {
  auto open = std::make_shared<const OpenLayers>(dirs_, layers, empty_.get(), std::move(top));
  return std::make_unique<OverlaySnapshot>(dirs_, work_, std::move(open), work_.make_dir("r"), flavour_,
                                           note_owners_, writer_);
}

std::shared_ptr<LayerDirs> OverlaySnapshotter::open_layers(const std::vector<oci::LayerBlob>& layers) {
  return std::make_shared<OpenLayers>(dirs_, layers, empty_.get());
}

std::shared_ptr<ContentProvider> OverlaySnapshotter::content(const std::vector<oci::LayerBlob>& layers) {
  return extracted_content(dirs_, layers);
}

}  // namespace imgbuild::builder
