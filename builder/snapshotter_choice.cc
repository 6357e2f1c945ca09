#include "builder/snapshotter_choice.h"

#include "base/strings.h"

namespace imgbuild::builder {

std::string_view snapshotter_name(SnapshotterKind kind) noexcept {
  constexpr std::string_view kNames[] = {"auto", "overlay", "fuse-overlayfs", "copy"};
  return kNames[static_cast<std::size_t>(kind)];
}

SnapshotterChoice choose_snapshotter(SnapshotterKind wanted, const std::function<ProbeFailure()>& overlay,
                                     const std::function<ProbeFailure()>& fuse) {
  SnapshotterChoice out;
  const bool automatic = wanted == SnapshotterKind::automatic;
  if (automatic || wanted == SnapshotterKind::overlay) {
    const ProbeFailure failure = overlay();
    if (!failure.failed()) return {.kind = SnapshotterKind::overlay, .no_overlay = {}, .no_fuse = {}};
    out.no_overlay = failure.what;
    out.overlay_failed = true;
  } else {
    out.no_overlay = cat("excluded by --snapshotter=", snapshotter_name(wanted));
  }
  if (automatic || wanted == SnapshotterKind::fuse_overlayfs) {
    const ProbeFailure failure = fuse();
    if (!failure.failed())
      out.kind = SnapshotterKind::fuse_overlayfs;
    else
      out.no_fuse = failure.what;
  }
  return out;
}

}  // namespace imgbuild::builder
