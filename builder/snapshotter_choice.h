#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "builder/probe.h"

namespace imgbuild::builder {

enum class SnapshotterKind : std::uint8_t { automatic, overlay, fuse_overlayfs, copy };

/// As `--snapshotter` spells it.
std::string_view snapshotter_name(SnapshotterKind kind) noexcept;

struct SnapshotterChoice {
  SnapshotterKind kind = SnapshotterKind::copy;  ///< what can be had; never automatic
  std::string no_overlay;                        ///< why not overlays; empty: they are chosen
  std::string no_fuse;          ///< why not fuse-overlayfs; empty: chosen, or never looked at
  bool overlay_failed = false;  ///< the first was tried
};

/// The best kind of snapshots where commands can have mounts: overlays of the kernel, those of
/// fuse-overlayfs, plain copies (OVL-42). What is wanted is the only one tried; if it cannot be had the
/// result is a copy, and the reason. Each probe is asked at most once. Throws what they throw.
SnapshotterChoice choose_snapshotter(SnapshotterKind wanted, const std::function<ProbeFailure()>& overlay,
                                     const std::function<ProbeFailure()>& fuse);

}  // namespace imgbuild::builder
