#include "builder/layer_dirs.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/error.h"
#include "base/hash.h"
#include "base/root_dir.h"
#include "base/strings.h"
#include "oci/layer_applier.h"

namespace imgbuild::builder {

namespace {

constexpr std::uint64_t kSynced = 0;  ///< in place of the epoch of a layer that was synced

UniqueFd open_store_dir(int store_root, const char* name) {
  ensure_dir_at(store_root, name, 0700);
  return open_at(store_root, name, O_RDONLY | O_DIRECTORY);
}

bool same_file(int dir, const std::string& name, int fd) {
  struct stat by_name {
  }, by_fd{};
  return ::fstatat(dir, name.c_str(), &by_name, AT_SYMLINK_NOFOLLOW) == 0 && ::fstat(fd, &by_fd) == 0 &&
         by_name.st_ino == by_fd.st_ino && by_name.st_dev == by_fd.st_dev;
}

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

}  // namespace

OpenLayers::OpenLayers(std::vector<std::shared_ptr<const LayerDir>> dirs, int empty)
    : dirs_(std::move(dirs)) {
  for (auto dir = dirs_.rbegin(); dir != dirs_.rend(); ++dir) fds_.push_back((*dir)->fs.get());
  if (fds_.empty()) fds_.push_back(empty);
}

UniqueFd OpenLayers::open_file(const oci::ContentOrigin& origin) const {
  for (const auto& dir : dirs_) {
    if (dir->diff_id != origin.layer) continue;
    const RootDir root(dir->fs.duplicate());
    return root.open_beneath(origin.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  }
  throw Error(cat("no layer of this snapshot holds ", printable(origin.path)));
}

std::shared_ptr<ContentProvider> extracted_content(LayerDirStore& store, std::vector<oci::LayerBlob> layers) {
  return std::make_shared<LayerContent>(store, std::move(layers));
}

LayerDirStore::LayerDirStore(const StoreDir& store, oci::BlobStore& blobs, LayerIndexes& indexes,
                             const WorkArea& work, const Options& options)
    : blobs_(blobs),
      indexes_(indexes),
      work_(work),
      options_(options),
      store_(store),
      layers_(open_store_dir(store.fd(), options.content_only ? "contents" : "layers")) {}

std::string LayerDirStore::meta_text(const oci::ChainId& chain, const oci::DiffId& diff_id,
                                     std::uint64_t epoch) const {
  const std::string text = cat("imgbuild layer directory 2\nchain ", chain.value.str(), "\ndiff_id ",
                               diff_id.value.str(), "\nflavour ",
                               options_.content_only                              ? "content"
                               : options_.flavour == oci::OverlayFlavour::trusted ? "trusted"
                               : options_.record_owner                            ? "user with noted owners"
                                                                                  : "user",
                               "\nepoch ", epoch, "\n");
  return cat(text, "end ", sha256(text).hex(), "\n");
}

std::optional<WorkClaim> LayerDirStore::claim(const oci::ChainId& chain) const {
  return store_.claim(options_.content_only ? kContentClaim : kLayerClaim, chain.value,
                      cat("layer ", chain.value.short_hex(), " to be extracted"));
}

std::shared_ptr<const LayerDir> LayerDirStore::open_valid(const oci::ChainId& chain,
                                                          const oci::DiffId& diff_id) const {
  const std::string name = chain.value.hex();
  const UniqueFd dir = open_at_if_exists(layers_.get(), name, O_RDONLY | O_DIRECTORY);
  if (!dir || !open_at_if_exists(dir.get(), "meta", O_RDONLY)) return nullptr;
  auto lease = FileLock::try_acquire(dir.get(), "meta", FileLock::Kind::shared);
  // Somebody may have taken it away between opening and locking.
  if (!lease || !same_file(layers_.get(), name, dir.get())) return nullptr;
  const std::string meta = read_file_at(dir.get(), "meta", 4096);
  if (meta != meta_text(chain, diff_id, options_.epoch) && meta != meta_text(chain, diff_id, kSynced))
    return nullptr;
  UniqueFd fs = open_at_if_exists(dir.get(), "fs", O_RDONLY | O_DIRECTORY);
  if (!fs) return nullptr;
  return std::make_shared<const LayerDir>(LayerDir{diff_id, std::move(fs), std::move(*lease)});
}

std::shared_ptr<const LayerDir> LayerDirStore::find(const oci::ChainId& chain, const oci::DiffId& diff_id) {
  const std::lock_guard guard(mutex_);
  auto& known = open_[chain.value];
  if (auto dir = known.lock()) return dir;
  auto dir = open_valid(chain, diff_id);
  if (dir && options_.uses != nullptr) options_.uses->note(chain.value);
  known = dir;
  return dir;
}

void LayerDirStore::extract(const std::vector<oci::LayerBlob>& layers, std::size_t index,
                            const oci::ChainId& chain) {
  TempDir dir = work_.make_dir("x");
  ensure_dir_at(dir.fd(), "fs", 0755);
  const UniqueFd fs = open_at(dir.fd(), "fs", O_RDONLY | O_DIRECTORY);
  const std::vector<oci::LayerBlob> below(layers.begin(),
                                          layers.begin() + static_cast<std::ptrdiff_t>(index));
  oci::ApplyOptions options;
  options.flavour = options_.flavour;
  options.make_devices = options_.make_devices;
  options.record_owner = options_.record_owner;
  options.content_only = options_.content_only;
  const auto applied = oci::apply_layer(blobs_, layers[index], fs.get(), indexes_.tree(below), options);
  indexes_.put(layers[index].diff_id, applied.index);
  publish_locked(std::move(dir), chain, layers[index].diff_id);
}

std::shared_ptr<const LayerDir> LayerDirStore::open_chain(const std::vector<oci::LayerBlob>& layers,
                                                          std::size_t index, const oci::ChainId& chain) {
  auto dir = find(chain, layers[index].diff_id);
  if (dir) return dir;
  const auto working = claim(chain);
  dir = find(chain, layers[index].diff_id);  // another one may have been faster
  if (!dir) {
    extract(layers, index, chain);
    dir = find(chain, layers[index].diff_id);
  }
  if (!dir) throw Error(cat("the extracted layer ", chain.value.short_hex(), " disappeared from the store"));
  return dir;
}

std::vector<std::shared_ptr<const LayerDir>> LayerDirStore::open(const std::vector<oci::LayerBlob>& layers) {
  std::vector<std::shared_ptr<const LayerDir>> out;
  std::optional<oci::ChainId> chain;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    chain = oci::chain(chain, layers[i].diff_id);
    out.push_back(open_chain(layers, i, *chain));
  }
  keep(out);
  return out;
}

void LayerDirStore::keep(const std::vector<std::shared_ptr<const LayerDir>>& stack) {
  const std::lock_guard guard(mutex_);
  for (auto& kept : kept_) {
    if (kept.size() <= stack.size() && std::equal(kept.begin(), kept.end(), stack.begin()) && !kept.empty()) {
      kept = stack;
      return;
    }
  }
  kept_[next_kept_++ % kept_.size()] = stack;
}

std::shared_ptr<const LayerDir> LayerDirStore::open_one(const std::vector<oci::LayerBlob>& layers,
                                                        std::size_t index) {
  std::optional<oci::ChainId> chain;
  for (std::size_t i = 0; i <= index; ++i) chain = oci::chain(chain, layers[i].diff_id);
  return open_chain(layers, index, *chain);
}

void LayerDirStore::publish_locked(TempDir dir, const oci::ChainId& chain, const oci::DiffId& diff_id) {
  const UniqueFd meta = open_at(dir.fd(), "meta", O_WRONLY | O_CREAT | O_EXCL, 0600);
  // Its files first, then the text that vouches for them.
  if (options_.syncer != nullptr) options_.syncer->file_system(dir.fd(), "the extracted layers");
  write_all(meta.get(), meta_text(chain, diff_id, options_.syncer != nullptr ? kSynced : options_.epoch),
            "meta");
  const std::string name = chain.value.hex();
  // What is there is not valid, or find() would have taken it.
  remove_tree_at(layers_.get(), name);
  if (::renameat(dir.parent_fd(), dir.name().c_str(), layers_.get(), name.c_str()) != 0)
    throw SystemError(errno, "rename", name);
  dir.release();
}

void LayerDirStore::publish(TempDir dir, const oci::ChainId& chain, const oci::DiffId& diff_id) {
  const auto working = claim(chain);
  if (!find(chain, diff_id)) publish_locked(std::move(dir), chain, diff_id);
}

}  // namespace imgbuild::builder
