#include "builder/run_support.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "builder/chroot_sandbox.h"
#include "builder/copy_snapshotter.h"
#include "builder/linux_sandbox.h"
#include "builder/machine_facts.h"
#include "builder/overlay_snapshotter.h"
#include "builder/run_environment.h"
#include "builder/store_place.h"
#include "builder/tier_advice.h"

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
  FuseProgram fuse;  ///< first, because the sandbox borrows it
  std::unique_ptr<OverlaySnapshotter> overlay;
  std::unique_ptr<CopySnapshotter> copy;
  std::unique_ptr<Sandbox> sandbox;
};

std::string run_support_line(const RunSupport& support) {
  std::string out = cat("RUN: tier ", tier_name(support.tier), " (", tier_meaning(support.tier), "), ",
                        support.snapshotter, " snapshots");
  if (!support.blockers.empty()) {
    // That an ordinary user is not root is known, and told where there is nothing else to say.
    auto first = std::find_if(support.blockers.begin(), support.blockers.end(),
                              [](const Blocker& b) { return b.cause != Blocker::Cause::not_root; });
    if (first == support.blockers.end()) first = support.blockers.begin();
    out += cat("; no ", tier_name(first->tier), ": ", first->text());
  }
  if (!support.snapshotter_reason.empty()) out += cat("; no overlay: ", support.snapshotter_reason);
  if (!support.fuse_reason.empty()) out += cat("; no fuse-overlayfs: ", support.fuse_reason);
  if (!support.fuse_defect.empty()) out += cat("; ", support.fuse_defect);
  if (!support.better_place.empty()) out += cat(" (", one_line(overlay_advice(support.better_place)), ")");
  return out;
}

void require_run(const RunSupport& support) {
  if (support.sandbox != nullptr) return;
  UnsupportedError error(cat("RUN is not possible here: ", support.refusal));
  for (const auto& advice : support.advice) error.add_note(advice);
  throw error;
}

LazyRunSupport::LazyRunSupport(Options options, oci::BlobStore& blobs, LayerIndexes& indexes)
    : options_(std::move(options)), blobs_(blobs), indexes_(indexes) {}

LazyRunSupport::~LazyRunSupport() = default;

const RunSupport& LazyRunSupport::get() {
  std::call_once(once_, [this] { support_ = open(); });
  return support_;
}

/// Goes down from the tier the process has moved into until one really works.
void LazyRunSupport::probe_tier(RunSupport& support) const {
  if (support.tier < Tier::chroot) {
    const auto failure = probe_namespaces({.shared_processes = options_.shared_processes});
    if (!failure.failed()) return;
    if (is_passing(failure.error_number))
      throw SystemError(failure.error_number, "find out how to isolate commands", failure.what);
    support.blockers.push_back({support.tier, failure.cause, failure.error_number, {}});
    if (options_.isolation == Isolation::full) {
      support.blockers.push_back({Tier::chroot, Blocker::Cause::not_wanted, 0, "--isolation=full"});
      support.tier = Tier::none;
      return;
    }
    support.tier = Tier::chroot;
  }
  const bool named = !support.blockers.empty() && support.blockers.back().tier == Tier::chroot;
  if (support.tier == Tier::none && (named || options_.real_uid == 0)) return;
  const auto blocker = options_.real_uid != 0
                           ? std::optional(Blocker{Tier::chroot, Blocker::Cause::not_root, 0, {}})
                           : probe_chroot(options_.store);
  if (!blocker) return;
  support.blockers.push_back(*blocker);
  support.tier = Tier::none;
}

SnapshotterKind LazyRunSupport::choose(RunSupport& support) {
  const auto choice = choose_snapshotter(
      options_.snapshotter, [&] { return probe_overlay(options_.store, options_.tier.flavour); },
      [&] {
        opened_->fuse = find_fuse_program(support.tier != Tier::root);
        const bool wanted = options_.snapshotter == SnapshotterKind::fuse_overlayfs;
        if (opened_->fuse.usable()) support.fuse_defect = fuse_defect(fuse_version(opened_->fuse));
        if (!wanted && !support.fuse_defect.empty())
          return ProbeFailure{cat(std::exchange(support.fuse_defect, {}), kOnlyWhenAsked), 0};
        return probe_fuse(options_.store, opened_->fuse, options_.tier.flavour);
      });
  support.snapshotter_reason = choice.no_overlay;
  support.fuse_reason = choice.no_fuse;
  support.overlay_failed = choice.overlay_failed;
  if (choice.overlay_failed) support.better_place = find_store_place().value_or("");
  return choice.kind;
}

void LazyRunSupport::open_namespaced(RunSupport& support, SnapshotterKind kind) {
  const auto flavour = options_.tier.flavour;
  const bool single_id = support.tier == Tier::single_id, fuse = kind == SnapshotterKind::fuse_overlayfs;
  int scratch = -1;
  if (kind != SnapshotterKind::copy) {
    opened_->overlay = std::make_unique<OverlaySnapshotter>(
        options_.store, blobs_, indexes_, flavour, options_.epoch, options_.syncer, options_.uses, single_id,
        fuse ? UpperWriter::fuse_overlayfs : UpperWriter::kernel);
    support.snapshots = opened_->overlay.get();
    scratch = opened_->overlay->scratch_dir();
  } else {
    opened_->copy = std::make_unique<CopySnapshotter>(
        options_.store, blobs_, indexes_,
        CopySnapshotter::Options{.epoch = options_.epoch,
                                 .syncer = options_.syncer,
                                 .uses = options_.uses,
                                 .make_devices = flavour == oci::OverlayFlavour::trusted,
                                 .note_owners = single_id});
    support.snapshots = opened_->copy.get();
    scratch = opened_->copy->scratch_dir();
  }
  support.apparmor = choose_apparmor(read_apparmor_facts("", support.tier == Tier::root));
  opened_->sandbox =
      std::make_unique<LinuxSandbox>(LinuxSandbox::Options{.scratch_dir = scratch,
                                                           .flavour = flavour,
                                                           .shared_processes = options_.shared_processes,
                                                           .no_groups = single_id,
                                                           .apparmor = support.apparmor,
                                                           .fuse = fuse ? &opened_->fuse : nullptr});
}

void LazyRunSupport::open_chroot(RunSupport& support) {
  opened_->copy = std::make_unique<CopySnapshotter>(
      options_.store, blobs_, indexes_,
      CopySnapshotter::Options{.epoch = options_.epoch, .syncer = options_.syncer, .uses = options_.uses});
  support.snapshots = opened_->copy.get();
  opened_->sandbox = std::make_unique<ChrootSandbox>(ChrootSandbox::Options{
      .scratch_dir = opened_->copy->scratch_dir(), .allow_disk_secrets = options_.allow_disk_secrets});
}

/// What was asked for on the command line cannot be had.
void LazyRunSupport::refuse_snapshotter(RunSupport& support) const {
  const bool fuse = options_.snapshotter == SnapshotterKind::fuse_overlayfs;
  const auto name = snapshotter_name(options_.snapshotter);
  support.refusal = cat(name, " snapshots cannot be had: ",
                        support.tier == Tier::chroot ? "tier T3 has no mounts"
                        : fuse                       ? support.fuse_reason
                                                     : support.snapshotter_reason);
  support.advice = {one_line(fuse ? fuse_advice() : overlay_advice(support.better_place)),
                    cat("or leave out --snapshotter=", name)};
  support.tier = Tier::none;
}

RunSupport LazyRunSupport::open() {
  if (options_.read_only)
    return {.refusal = "the store is read-only, so there is no place for what a command writes",
            .advice = {"name a store that can be written with --root"}};
  const StoreDir& store = options_.store;
  RunSupport support{.tier = options_.tier.tier, .blockers = options_.tier.blockers};
  opened_ = std::make_unique<Opened>();
  const bool may_overlay =
      options_.snapshotter == SnapshotterKind::automatic || options_.snapshotter == SnapshotterKind::overlay;
  const bool usual = options_.isolation != Isolation::chroot && may_overlay && !options_.shared_processes &&
                     support.tier < Tier::chroot;
  const std::string facts =
      usual ? probe_facts(store.fd(), options_.environment.empty() ? run_environment() : options_.environment,
                          options_.tier.flavour)
            : std::string();
  SnapshotterKind kind = SnapshotterKind::copy;
  if (usual && is_remembered(store.fd(), facts)) {
    kind = SnapshotterKind::overlay;
  } else {
    probe_tier(support);
    if (support.tier < Tier::chroot) kind = choose(support);
    if (usual && kind == SnapshotterKind::overlay) remember(store, facts);
  }
  const bool wanted = options_.snapshotter == SnapshotterKind::automatic || options_.snapshotter == kind;
  if (!wanted && support.tier != Tier::none) refuse_snapshotter(support);
  if (support.tier == Tier::none) {
    // Files can still be read out of layers.
    opened_->copy = std::make_unique<CopySnapshotter>(
        store, blobs_, indexes_,
        CopySnapshotter::Options{
            .epoch = options_.epoch, .syncer = options_.syncer, .make_devices = false, .keep_owner = false});
    support.snapshots = opened_->copy.get();
    if (support.refusal.empty()) explain(support);
    return support;
  }
  if (support.tier == Tier::chroot)
    open_chroot(support);
  else
    open_namespaced(support, kind);
  support.snapshotter = snapshotter_name(kind);
  support.sandbox = opened_->sandbox.get();
  return support;
}

/// Names what stands in the way of each tier, and what would help.
void LazyRunSupport::explain(RunSupport& support) const {
  MachineFacts facts = read_machine_facts();
  facts.uid = options_.real_uid;
  if (const passwd* entry = ::getpwuid(facts.uid)) facts.user = entry->pw_name;
  for (const Blocker& blocker : support.blockers) {
    if (blocker.cause != Blocker::Cause::not_root || support.refusal.empty())
      support.refusal += cat(support.refusal.empty() ? "" : "; ", blocker.text());
    for (const auto& advice : advice_for(blocker, facts)) {
      const std::string line = one_line(advice);
      if (std::find(support.advice.begin(), support.advice.end(), line) == support.advice.end())
        support.advice.push_back(line);
    }
  }
  support.advice.push_back("imgbuild doctor shows all of this");
}

}  // namespace imgbuild::builder
