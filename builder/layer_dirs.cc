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
#include "builder/lower_merge.h"
#include "oci/layer_applier.h"

namespace imgbuild::builder {

namespace {

// Images seldom have more layers than this. In blocks of the same layers, so that one more layer leaves the
// blocks below as they are.
constexpr std::size_t kMergeAbove = 64;
constexpr std::size_t kBlock = 32;

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
      : files_(std::make_shared<LayerFiles>(store, std::move(layers))) {}

  oci::ContentOpener open(const oci::ContentOrigin& origin) override {
    return
        [files = files_, origin] { return std::make_unique<FileSource>(files->open(origin), origin.path); };
  }

 private:
  std::shared_ptr<LayerFiles> files_;
};

std::vector<oci::ChainId> chains_of(const std::vector<oci::LayerBlob>& layers) {
  std::vector<oci::ChainId> out;
  for (const auto& layer : layers)
    out.push_back(oci::chain(out.empty() ? std::nullopt : std::optional(out.back()), layer.diff_id));
  return out;
}

}  // namespace

LayerFiles::LayerFiles(LayerDirStore& store, std::vector<oci::LayerBlob> layers)
    : store_(store), layers_(std::move(layers)), open_(layers_.size()) {}

UniqueFd LayerFiles::open(const oci::ContentOrigin& origin) {
  std::shared_ptr<const LayerDir> dir;
  for (std::size_t i = layers_.size(); !dir && i-- > 0;) {
    if (layers_[i].diff_id != origin.layer) continue;
    const std::lock_guard guard(mutex_);
    if (!open_[i]) open_[i] = store_.open_one(layers_, i);
    dir = open_[i];
  }
  if (!dir) throw Error(cat("no layer of this snapshot holds ", printable(origin.path)));
  return RootDir(dir->fs.duplicate()).open_beneath(origin.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
}

OpenLayers::OpenLayers(LayerDirStore& store, const std::vector<oci::LayerBlob>& layers, int empty,
                       std::optional<Snapshotter::Top> top)
    : top_(std::move(top)), dirs_(store.open(layers)), files_(std::make_unique<LayerFiles>(store, layers)) {
  if (top_) fds_.push_back(top_->files->fd());
  for (auto dir = dirs_.rbegin(); dir != dirs_.rend(); ++dir) fds_.push_back((*dir)->fs.get());
  if (fds_.empty()) fds_.push_back(empty);
}

UniqueFd OpenLayers::open_file(const oci::ContentOrigin& origin) const {
  return top_ && origin.layer == top_->id ? top_->files->open_file(origin.path) : files_->open(origin);
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
  publish_locked(dir, chain, layers[index].diff_id);
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
  const auto chains = chains_of(layers);
  std::size_t next = 0;
  // The top stays as it is: the next step has the same layers and one more.
  for (; layers.size() > kMergeAbove && next + kBlock < layers.size(); next += kBlock)
    out.push_back(open_block(layers, chains, next, next + kBlock));
  for (; next < layers.size(); ++next) out.push_back(open_chain(layers, next, chains[next]));
  keep(out);
  return out;
}

std::shared_ptr<const LayerDir> LayerDirStore::open_block(const std::vector<oci::LayerBlob>& layers,
                                                          const std::vector<oci::ChainId>& chains,
                                                          std::size_t first, std::size_t last) {
  const Digest name = sha256(cat("merged layers from ", first, " to ", chains[last - 1].value.str()));
  const oci::ChainId chain{name};
  const oci::DiffId diff_id{name};
  auto dir = find(chain, diff_id);
  if (dir) return dir;
  const auto working = claim(chain);
  dir = find(chain, diff_id);  // another one may have been faster
  if (dir) return dir;
  TempDir merged = work_.make_dir("m");
  ensure_dir_at(merged.fd(), "fs", 0755);
  const UniqueFd fs = open_at(merged.fd(), "fs", O_RDONLY | O_DIRECTORY);
  const oci::FileTree below =
      indexes_.tree({layers.begin(), layers.begin() + static_cast<std::ptrdiff_t>(first)});
  for (std::size_t i = first; i < last; ++i)
    merge_lower(open_chain(layers, i, chains[i])->fs.get(), fs.get(), below, options_.flavour);
  publish_locked(merged, chain, diff_id);
  dir = find(chain, diff_id);
  if (!dir) throw Error(cat("the merged layers ", name.short_hex(), " disappeared from the store"));
  return dir;
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
  return open_chain(layers, index, chains_of(layers)[index]);
}

void LayerDirStore::publish_locked(TempDir& dir, const oci::ChainId& chain, const oci::DiffId& diff_id) {
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

std::shared_ptr<const LayerDir> LayerDirStore::publish(TempDir& dir, const oci::ChainId& chain,
                                                       const oci::DiffId& diff_id) {
  const auto working = claim(chain);
  if (auto there = find(chain, diff_id)) return there;
  publish_locked(dir, chain, diff_id);
  return find(chain, diff_id);
}

}  // namespace imgbuild::builder
