#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/store_dir.h"
#include "oci/node_metadata.h"

namespace imgbuild::builder {

/// How RUN can be isolated here (SBX-4). The tiers between and below are refused, with the reason.
enum class Tier : std::uint8_t {
  root,            ///< T0: root with all rights
  user_namespace,  ///< T1: root of a user namespace with many ids
  none,            ///< no RUN; builds without RUN work
};

struct TierReport {
  Tier tier = Tier::none;
  oci::OverlayFlavour flavour = oci::OverlayFlavour::trusted;
  std::string name() const;
  std::string refusal;              ///< why no better tier: one sentence; empty for T0
  std::vector<std::string> advice;  ///< what to do about it (RLS-20)
};

/// Whether this process could start a sandbox: namespaces, private mounts and a fresh /proc, tried in a child
/// that is thrown away and touches nothing of the caller's (SBX-6). Empty when it can, otherwise what failed
/// and why. There may be other threads: the child only makes system calls.
struct ProbeFailure {
  std::string what;
  int error_number = 0;
  bool failed() const noexcept { return !what.empty(); }
};
ProbeFailure probe_namespaces();

/// Whether the file system of `store` can carry overlays with their marks (OVL-30, OVL-50, OVL-51).
/// Nothing is attached anywhere; a directory is made in it and removed.
ProbeFailure probe_overlay(const StoreDir& store, oci::OverlayFlavour flavour);

/// What to do about a failed probe.
std::vector<std::string> advice_for(const ProbeFailure& failure, bool is_root);

}  // namespace imgbuild::builder
