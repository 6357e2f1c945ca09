#include "builder/copy_snapshotter.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "builder/diff.h"
#include "builder/overlay_xattr.h"
#include "builder/tree_stamps.h"
#include "builder/tree_writer.h"
#include "oci/node_maker.h"

namespace imgbuild::builder {

namespace {

constexpr std::size_t kMaxKept = 4;

oci::OverlayFlavour flavour_of(const CopySnapshotter::Options& options) {
  return options.make_devices ? oci::OverlayFlavour::trusted : oci::OverlayFlavour::user;
}

std::vector<oci::DiffId> ids_of(const std::vector<oci::LayerBlob>& layers) {
  std::vector<oci::DiffId> out;
  for (const auto& layer : layers) out.push_back(layer.diff_id);
  return out;
}

oci::FileAttributes attributes_of(int dir, const std::string& name, const struct stat& info,
                                  UpperXattrs& xattrs) {
  oci::FileAttributes out;
  out.type = S_ISREG(info.st_mode)    ? oci::FileType::regular
             : S_ISLNK(info.st_mode)  ? oci::FileType::symlink
             : S_ISFIFO(info.st_mode) ? oci::FileType::fifo
             : S_ISBLK(info.st_mode)  ? oci::FileType::block_device
                                      : oci::FileType::char_device;
  out.mode = info.st_mode & 07777;
  out.uid = info.st_uid;
  out.gid = info.st_gid;
  out.mtime = {info.st_mtim.tv_sec, static_cast<std::uint32_t>(info.st_mtim.tv_nsec)};
  out.device_major = major(info.st_rdev);
  out.device_minor = minor(info.st_rdev);
  if (S_ISLNK(info.st_mode)) {
    char target[4097];
    const ssize_t size = ::readlinkat(dir, name.c_str(), target, sizeof target);
    if (size < 0) throw SystemError(errno, "read link", name);
    out.link_target.assign(target, static_cast<std::size_t>(size));
  }
  if (S_ISREG(info.st_mode)) {
    xattrs = XattrReader().read(dir, name.c_str(), name);
    out.xattrs = xattrs.exported;
  }
  return out;
}

/// Gives `path` an inode of its own.
void break_link(const RootDir& root, const std::string& path) {
  const auto slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash);
  const std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
  const std::string temporary = cat(".imgbuild-", random_name());
  const UniqueFd dir = root.open_beneath(parent, O_RDONLY | O_DIRECTORY);
  struct stat info {
  }, above{};
  if (::fstatat(dir.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 || ::fstat(dir.get(), &above) != 0)
    throw SystemError(errno, "stat", path);
  if (info.st_nlink == 1) return;
  UpperXattrs xattrs;
  const auto attributes = attributes_of(dir.get(), name, info, xattrs);
  oci::MetadataWriter metadata({.keep_owner = true});
  if (S_ISREG(info.st_mode)) {
    const UniqueFd from = open_at(dir.get(), name, O_RDONLY | O_NONBLOCK);
    const UniqueFd to = open_at(dir.get(), temporary, O_WRONLY | O_CREAT | O_EXCL, 0600);
    copy_file_content(from.get(), to.get(), static_cast<std::uint64_t>(info.st_size), path);
    const std::string& owner = xattrs.owner;
    if (!owner.empty() && ::fsetxattr(to.get(), oci::kOwnerXattr, owner.data(), owner.size(), 0) != 0)
      throw SystemError(errno, "note the owner of", path);
    metadata.write(to.get(), attributes, path);
  } else {
    oci::NodeMaker(metadata).make_special(dir.get(), temporary, attributes, path);
  }
  if (::renameat(dir.get(), temporary.c_str(), dir.get(), name.c_str()) != 0)
    throw SystemError(errno, "rename", path);
  const timespec times[] = {above.st_atim, above.st_mtim};
  ::futimens(dir.get(), times);
}

}  // namespace

UniqueFd TreeCopy::open() const { return open_at(dir.fd(), "fs", O_RDONLY | O_DIRECTORY); }

class CopySnapshotter::Snapshot final : public WritableSnapshot {
 public:
  Snapshot(CopySnapshotter& maker, TreeCopy copy, std::shared_ptr<LayerFiles> contents)
      : maker_(maker),
        copy_(std::move(copy)),
        contents_(std::move(contents)),
        root_(std::make_shared<RootDir>(copy_->open())),
        before_(stamp_tree(root_->fd())) {}

  RootfsSpec rootfs() const override {
    return {.root_dir = root_->fd(), .lower_dirs = {}, .upper_dir = root_->fd()};
  }

  std::vector<oci::PendingEntry> diff(const oci::FileTree& lower, std::optional<std::int64_t> clamp_mtime,
                                      ThreadPool* pool) override {
    DiffOptions options;
    options.pool = pool;
    options.flavour = flavour_of(maker_.options_);
    options.whole = WholeTree{&before_};
    options.noted_owners = maker_.options_.note_owners;
    options.clamp_mtime = clamp_mtime;
    options.open_lower = [this](const oci::ContentOrigin& origin) { return contents_->open(origin); };
    found_ = diff_upper(root_, lower, options);
    return std::move(found_.entries);
  }

  void commit(const oci::ChainId&, const oci::DiffId& diff_id) override {
    // What no layer holds must not be met by the next command either.
    if (!copy_ || !found_.skipped_sockets.empty()) return;
    for (const auto& path : found_.linked) break_link(*root_, path);
    forget_untold_times(*root_, found_);
    copy_->layers.push_back(diff_id);
    maker_.keep(std::move(*copy_));
    copy_.reset();
  }

  void leave_to(int pid) noexcept override {
    if (copy_) copy_->dir.release();
    maker_.work_.leave_to(pid);
  }

 private:
  CopySnapshotter& maker_;
  std::optional<TreeCopy> copy_;
  std::shared_ptr<LayerFiles> contents_;
  std::shared_ptr<const RootDir> root_;
  TreeStamps before_;
  UpperDiff found_;
};

/// For mounting: one directory, for one user.
class CopySnapshotter::Copy final : public LayerDirs {
 public:
  explicit Copy(TreeCopy copy) : copy_(std::move(copy)), root_(copy_.open()), fds_{root_.get()} {}
  const std::vector<int>& fds() const noexcept override { return fds_; }
  bool is_private_copy() const noexcept override { return true; }

 private:
  TreeCopy copy_;
  UniqueFd root_;
  std::vector<int> fds_;
};

CopySnapshotter::CopySnapshotter(const StoreDir& store, oci::BlobStore& blobs, LayerIndexes& indexes,
                                 const Options& options)
    : options_(options),
      indexes_(indexes),
      work_(store),
      contents_(
          store, blobs, indexes, work_,
          {.epoch = options.epoch, .uses = options.uses, .syncer = options.syncer, .content_only = true}) {}

void CopySnapshotter::keep(TreeCopy copy) {
  std::optional<TreeCopy> oldest;  // removed after the lock is free
  const std::lock_guard guard(mutex_);
  kept_.push_front(std::move(copy));
  if (kept_.size() > kMaxKept) {
    oldest = std::move(kept_.back());
    kept_.pop_back();
  }
}

/// The one that holds most of the layers and none above.
std::optional<TreeCopy> CopySnapshotter::take_kept(const std::vector<oci::LayerBlob>& layers) {
  const auto ids = ids_of(layers);
  const std::lock_guard guard(mutex_);
  auto best = kept_.end();
  for (auto it = kept_.begin(); it != kept_.end(); ++it) {
    const bool fits =
        it->layers.size() <= ids.size() && std::equal(it->layers.begin(), it->layers.end(), ids.begin());
    if (fits && (best == kept_.end() || best->layers.size() < it->layers.size())) best = it;
  }
  if (best == kept_.end()) return std::nullopt;
  std::optional<TreeCopy> out(std::move(*best));
  kept_.erase(best);
  return out;
}

TreeCopy CopySnapshotter::make_copy(const std::vector<oci::LayerBlob>& layers, LayerFiles& contents,
                                    bool reuse) {
  auto copy = reuse ? take_kept(layers) : std::nullopt;
  const std::size_t there = copy ? copy->layers.size() : 0;
  if (!copy) {
    copy.emplace(TreeCopy{{}, work_.make_dir("c")});
    ensure_dir_at(copy->dir.fd(), "fs", 0755);
  }
  TreeWriteOptions options;
  options.open = [&](const oci::ContentOrigin& origin) { return contents.open(origin); };
  options.metadata = {.keep_owner = options_.keep_owner, .record_owner = options_.note_owners};
  options.make_devices = options_.make_devices;
  const oci::FileTree below =
      indexes_.tree({layers.begin(), layers.begin() + static_cast<std::ptrdiff_t>(there)});
  write_tree(copy->open().get(), below, indexes_.tree(layers), options);
  copy->layers = ids_of(layers);
  return std::move(*copy);
}

std::unique_ptr<WritableSnapshot> CopySnapshotter::prepare(const std::vector<oci::LayerBlob>& layers) {
  const auto contents = std::make_shared<LayerFiles>(contents_, layers);
  return std::make_unique<Snapshot>(*this, make_copy(layers, *contents, true), contents);
}

std::shared_ptr<LayerDirs> CopySnapshotter::open_layers(const std::vector<oci::LayerBlob>& layers) {
  LayerFiles contents(contents_, layers);
  return std::make_shared<Copy>(make_copy(layers, contents, false));
}

std::shared_ptr<ContentProvider> CopySnapshotter::content(const std::vector<oci::LayerBlob>& layers) {
  return extracted_content(contents_, layers);
}

}  // namespace imgbuild::builder
