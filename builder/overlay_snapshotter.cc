#include "builder/overlay_snapshotter.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <mutex>

#include "base/error.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "builder/diff.h"

namespace imgbuild::builder {

namespace {

/// Extracted layers as descriptors, top first.
class OpenLayers final : public LayerDirs {
 public:
  OpenLayers(std::vector<std::shared_ptr<const LayerDir>> dirs, int empty) : dirs_(std::move(dirs)) {
    for (auto dir = dirs_.rbegin(); dir != dirs_.rend(); ++dir) fds_.push_back((*dir)->fs.get());
    if (fds_.empty()) fds_.push_back(empty);
  }
  const std::vector<int>& fds() const noexcept override { return fds_; }

  /// The file as its layer has it. Throws when the layer is none of these.
  UniqueFd open_file(const oci::ContentOrigin& origin) const {
    for (const auto& dir : dirs_) {
      if (dir->diff_id != origin.layer) continue;
      const RootDir root(dir->fs.duplicate());
      return root.open_beneath(origin.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    }
    throw Error(cat("no layer of this snapshot holds ", printable(origin.path)));
  }

 private:
  std::vector<std::shared_ptr<const LayerDir>> dirs_;
  std::vector<int> fds_;
};

class LayerContent final : public ContentProvider {
 public:
  LayerContent(LayerDirStore& store, std::vector<oci::LayerBlob> layers)
      : store_(store), layers_(std::move(layers)) {}

  oci::ContentOpener open(const oci::ContentOrigin& origin) override {
    std::call_once(opened_, [this] { open_ = std::make_shared<OpenLayers>(store_.open(layers_), -1); });
    return [layers = open_, origin] {
      return std::make_unique<FileSource>(layers->open_file(origin), origin.path);
    };
  }

 private:
  LayerDirStore& store_;
  std::vector<oci::LayerBlob> layers_;
  std::once_flag opened_;
  std::shared_ptr<const OpenLayers> open_;
};

UniqueFd make_dir(int parent, const std::string& name) {
  ensure_dir_at(parent, name, 0755);
  UniqueFd dir = open_at(parent, name, O_RDONLY | O_DIRECTORY);
  // The upper directory is the root of the merged view, whatever the umask of this process is.
  if (::fchmod(dir.get(), 0755) != 0) throw SystemError(errno, "chmod", name);
  return dir;
}

class OverlaySnapshot final : public WritableSnapshot {
 public:
  OverlaySnapshot(LayerDirStore& store, WorkArea& work_area, std::shared_ptr<const OpenLayers> layers,
                  TempDir dir, oci::OverlayFlavour flavour)
      : store_(store),
        work_area_(work_area),
        layers_(std::move(layers)),
        dir_(std::move(dir)),
        layer_(TempDir::create(dir_.fd(), "l")),
        flavour_(flavour),
        upper_(std::make_shared<RootDir>(make_dir(layer_.fd(), "fs"))),
        work_(make_dir(dir_.fd(), "w")) {}

  RootfsSpec rootfs() const override { return {layers_->fds(), upper_->fd(), work_.get()}; }

  std::vector<oci::PendingEntry> diff(const oci::FileTree& lower) override {
    DiffOptions options;
    options.flavour = flavour_;
    options.open_lower = [this](const oci::ContentOrigin& origin) { return layers_->open_file(origin); };
    UpperDiff found = diff_upper(upper_, lower, options);
    upper_is_exact_ = found.upper_is_exact;
    return std::move(found.entries);
  }

  void commit(const oci::ChainId& chain, const oci::DiffId& diff_id) override {
    // What the layer says otherwise than the upper directory is extracted from the layer when somebody needs
    // it.
    if (upper_is_exact_ && !committed_) store_.publish(std::move(layer_), chain, diff_id);
    committed_ = true;
  }

  void leave_to(int pid) noexcept override {
    layer_.release();
    dir_.release();
    work_area_.leave_to(pid);
  }

 private:
  LayerDirStore& store_;
  WorkArea& work_area_;
  std::shared_ptr<const OpenLayers> layers_;
  TempDir dir_;
  TempDir layer_;
  const oci::OverlayFlavour flavour_;
  std::shared_ptr<const RootDir> upper_;
  UniqueFd work_;
  bool upper_is_exact_ = false;  ///< known after diff()
  bool committed_ = false;
};

}  // namespace

OverlaySnapshotter::OverlaySnapshotter(const StoreDir& store, oci::BlobStore& blobs, LayerIndexes& indexes,
                                       oci::OverlayFlavour flavour, std::uint64_t epoch, Syncer* syncer,
                                       UseLog* uses)
    : flavour_(flavour),
      work_(store),
      empty_(make_dir(work_.fd(), "empty")),
      dirs_(store, blobs, indexes, work_,
            {.flavour = flavour,
             .make_devices = flavour == oci::OverlayFlavour::trusted,
             .epoch = epoch,
             .uses = uses,
             .syncer = syncer}) {}

std::unique_ptr<WritableSnapshot> OverlaySnapshotter::prepare(const std::vector<oci::LayerBlob>& layers) {
  auto open = std::make_shared<const OpenLayers>(dirs_.open(layers), empty_.get());
  return std::make_unique<OverlaySnapshot>(dirs_, work_, std::move(open), work_.make_dir("r"), flavour_);
}

std::shared_ptr<LayerDirs> OverlaySnapshotter::open_layers(const std::vector<oci::LayerBlob>& layers) {
  return std::make_shared<OpenLayers>(dirs_.open(layers), empty_.get());
}

std::shared_ptr<ContentProvider> OverlaySnapshotter::content(const std::vector<oci::LayerBlob>& layers) {
  return std::make_shared<LayerContent>(dirs_, layers);
}

}  // namespace imgbuild::builder
