#include "builder/run_support.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "base/error.h"
#include "base/strings.h"
#include "builder/linux_sandbox.h"
#include "builder/overlay_snapshotter.h"
#include "builder/run_environment.h"

namespace imgbuild::builder {

namespace {

constexpr const char* kProbed = "probed";
constexpr std::uint64_t kMaxText = 16 * 1024;

/// Everything a remembered probe must agree with.
std::string probe_facts(int store_root, const std::string& environment, oci::OverlayFlavour flavour) {
  struct stat info {};
  if (::fstat(store_root, &info) != 0) throw SystemError(errno, "stat", "the store");
  return cat("imgbuild probe 1\nstore ", info.st_dev, " ", info.st_ino, "\nflavour ",
             flavour == oci::OverlayFlavour::trusted ? "trusted" : "user", "\n", environment);
}

bool is_remembered(int store_root, const std::string& facts) {
  try {
    const UniqueFd file = open_at_if_exists(store_root, kProbed, O_RDONLY | O_NONBLOCK);
    return file && read_file(file.get(), kMaxText, kProbed) == facts;
  } catch (const Error&) {
    return false;
  }
}

/// Best effort: without it the next build probes again.
void remember(const StoreDir& store, const std::string& facts) {
  try {
    store.publish(store.fd(), kProbed, facts);
  } catch (const Error&) {
    // Nothing is lost by it.
  }
}

}  // namespace

struct LazyRunSupport::Opened {
  OverlaySnapshotter snapshots;
  LinuxSandbox sandbox;
  Opened(const Options& options, oci::BlobStore& blobs, LayerIndexes& indexes)
      : snapshots(options.store, blobs, indexes, options.tier.flavour, options.epoch, options.syncer,
                  options.uses),
        sandbox({.scratch_dir = snapshots.scratch_dir(), .flavour = options.tier.flavour}) {}
};

LazyRunSupport::LazyRunSupport(Options options, oci::BlobStore& blobs, LayerIndexes& indexes)
    : options_(std::move(options)), blobs_(blobs), indexes_(indexes) {}

LazyRunSupport::~LazyRunSupport() = default;

const RunSupport& LazyRunSupport::get() {
  std::call_once(once_, [this] { support_ = open(); });
  return support_;
}

RunSupport LazyRunSupport::open() {
  const TierReport& tier = options_.tier;
  if (tier.tier == Tier::none) return {.refusal = tier.refusal, .advice = tier.advice};
  const StoreDir& store = options_.store;
  const std::string facts = probe_facts(
      store.fd(), options_.environment.empty() ? run_environment() : options_.environment, tier.flavour);
  if (!is_remembered(store.fd(), facts)) {
    if (const auto failure = probe_namespaces(); failure.failed()) {
      return {.refusal = cat("cannot isolate commands here: ", failure.what, ": ",
                             to_lower(std::strerror(failure.error_number))),
              .advice = advice_for(failure, options_.is_root)};
    }
    if (const auto failure = probe_overlay(store, tier.flavour); failure.failed())
      return {.refusal = failure.what, .advice = advice_for(failure, options_.is_root)};
    remember(store, facts);
  }
  opened_ = std::make_unique<Opened>(options_, blobs_, indexes_);
  return {.snapshots = &opened_->snapshots, .sandbox = &opened_->sandbox};
}

}  // namespace imgbuild::builder
