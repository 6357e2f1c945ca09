#include "oci/pull.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "base/strings.h"
#include "oci/image_graph.h"
#include "oci/media_type.h"

namespace imgbuild::oci {

namespace {

constexpr std::uint64_t kConfigLimit = 8u << 20;
constexpr std::uint64_t kLayerLimit = std::uint64_t{64} << 30;
constexpr int kIndexDepth = 3;  // NET-4

std::string available_platforms(const Index& index) {
  std::vector<std::string> names;
  for (const Descriptor& entry : index.manifests) {
    if (entry.platform && entry.platform->os != "unknown") names.push_back(entry.platform->str());
  }
  return printable(join(names, ", "));
}

}  // namespace

ImagePuller::ImagePuller(Registry& registry, BlobStore& store, PullOptions options)
    : registry_(registry), store_(store), options_(std::move(options)) {}

Image ImagePuller::resolve(const Reference& name, const Platform& platform, std::stop_token stop) {
  return resolve(name, platform, options_.exact_platform, stop);
}

Image ImagePuller::resolve(const Reference& name, const Platform& platform, bool exact_platform,
                           std::stop_token stop) try {
  const Descriptor top = resolve_top(name, stop);
  const Descriptor found = descend(name, top, platform, exact_platform, stop);
  const Manifest manifest =
      Manifest::parse(imgbuild::oci::load_blob(store_, found.digest, kMaxManifestSize), found.media_type);
  if (!store_.find_blob(manifest.config.digest)) {
    put_blob(store_, registry_.load_blob(name, manifest.config, kConfigLimit, stop));
  }
  Image image = load_image(store_, found, platform, !exact_platform);
  remember(name, image.layers);
  return image;
} catch (Error& error) {
  error.add_context(cat("pulling ", name.familiar()));
  throw;
}

Descriptor ImagePuller::resolve_top(const Reference& name, std::stop_token stop) {
  if (const auto told = registry_.find_manifest(name, stop)) {
    ensure_manifest(name, *told, stop);
    return *told;
  }
  const auto document = registry_.load_manifest(name, name.manifest_selector(), std::nullopt, stop);
  put_blob(store_, document.bytes);
  return document.descriptor;
}

void ImagePuller::ensure_manifest(const Reference& name, const Descriptor& wanted, std::stop_token stop) {
  if (store_.find_blob(wanted.digest)) return;
  if (wanted.size > kMaxManifestSize) {
    throw IntegrityError(cat("manifest ", wanted.digest.str(), " is declared with ", wanted.size,
                             " bytes; at most ", kMaxManifestSize, " are allowed"));
  }
  const auto document = registry_.load_manifest(name, wanted.digest.str(), wanted.size, stop);
  if (document.descriptor.media_type != wanted.media_type) {
    throw IntegrityError(cat("manifest ", wanted.digest.str(), " was announced as ",
                             printable(wanted.media_type), " and is ", document.descriptor.media_type));
  }
  put_blob(store_, document.bytes);
}

/// Follows indexes down to the manifest for `platform`. A document that contains its own digest cannot exist,
/// so the depth alone ends every walk.
Descriptor ImagePuller::descend(const Reference& name, Descriptor target, const Platform& platform,
                                bool exact_platform, std::stop_token stop) {
  for (int depth = 0; is_index_type(target.media_type); ++depth) {
    if (depth == kIndexDepth) throw IntegrityError(cat(name.familiar(), ": indexes are nested too deep"));
    const Index index =
        Index::parse(imgbuild::oci::load_blob(store_, target.digest, kMaxManifestSize), target.media_type);
    auto entry = index.select(platform, !exact_platform);
    if (!entry) {
      Error error(cat("no match for platform ", platform.str(), " in ", name.familiar()),
                  ExitCode::unsupported);
      error.add_note(cat("the image is there for: ", available_platforms(index)));
      throw error;
    }
    target = std::move(*entry);
    ensure_manifest(name, target, stop);
  }
  return target;
}

void ImagePuller::remember(const Reference& name, const std::vector<LayerBlob>& layers) {
  const std::lock_guard guard(mutex_);
  for (const LayerBlob& layer : layers) origins_.insert_or_assign(layer.blob.digest, name);
}

void ImagePuller::fetch_layers(const Reference& name, const std::vector<LayerBlob>& layers,
                               std::stop_token stop) {
  remember(name, layers);
  fetch_layers(layers, stop);
}

void ImagePuller::fetch_layers(const std::vector<LayerBlob>& layers, std::stop_token stop) {
  std::vector<const Descriptor*> missing;
  std::set<Digest> seen;
  for (const LayerBlob& layer : layers) {
    if (seen.insert(layer.blob.digest).second && !store_.find_blob(layer.blob.digest))
      missing.push_back(&layer.blob);
  }
  if (missing.empty()) return;

  // Own threads: they wait for the network, and must not keep a pool's workers from computing.
  std::stop_source any_stop;
  const std::stop_callback follow(stop, [&] { any_stop.request_stop(); });
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr first;
  const auto work = [&] {
    for (std::size_t at = next++; at < missing.size(); at = next++) {
      try {
        ensure_blob(*missing[at], any_stop.get_token());
      } catch (...) {
        const std::lock_guard guard(mutex);
        if (!first) first = std::current_exception();
        any_stop.request_stop();
        return;
      }
    }
  };
  {
    std::vector<std::jthread> helpers;
    const std::size_t count = std::min(missing.size(), std::max<std::size_t>(1, options_.transfers));
    for (std::size_t i = 1; i < count; ++i) helpers.emplace_back(work);
    work();
  }
  if (first) std::rethrow_exception(first);
}

void ImagePuller::ensure_blob(const Descriptor& blob, std::stop_token stop) {
  std::promise<void> promise;
  std::shared_future<void> other;
  std::optional<Reference> origin;
  {
    const std::lock_guard guard(mutex_);
    const auto running = under_way_.find(blob.digest);
    if (running != under_way_.end()) {
      other = running->second;
    } else if (store_.find_blob(blob.digest)) {
      return;
    } else {
      const auto known = origins_.find(blob.digest);
      if (known == origins_.end())
        throw RegistryError(cat("layer ", blob.digest.str(), " is not stored here"));
      origin = known->second;
      under_way_.emplace(blob.digest, promise.get_future().share());
    }
  }
  if (other.valid()) {
    other.wait();
    if (stop.stop_requested()) throw Cancelled();
    // The other one may have been cancelled, or failed for a reason of its own: then it is our turn.
    if (!store_.find_blob(blob.digest)) ensure_blob(blob, stop);
    return;
  }
  const auto done = [&] {
    const std::lock_guard guard(mutex_);
    under_way_.erase(blob.digest);
    promise.set_value();
  };
  try {
    if (blob.size > kLayerLimit) {
      throw IntegrityError(cat("layer ", blob.digest.str(), " is declared with ", blob.size,
                               " bytes; at most ", kLayerLimit, " are allowed"));
    }
    const auto report = [&](std::uint64_t bytes) {
      if (options_.progress) options_.progress(blob.digest, bytes, blob.size);
    };
    const auto claim = options_.shared.claim(
        "pulls", blob.digest,
        options_.shared.waiting_for(cat("blob ", blob.digest.short_hex(), " to be pulled"), stop));
    if (!store_.find_blob(blob.digest)) registry_.fetch_blob(*origin, blob, store_, report, stop);
  } catch (...) {
    done();
    throw;
  }
  done();
}

}  // namespace imgbuild::oci
