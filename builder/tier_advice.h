#pragma once

#include <string>
#include <vector>

#include "builder/machine_facts.h"
#include "builder/probe.h"

namespace imgbuild::builder {

/// One way to a better tier: what to change, and the text to copy.
struct Advice {
  std::string title;
  std::string snippet;  ///< may be several lines
};

/// What removes `blocker` on a machine like this (RLS-20). Pure. Empty when nothing is known to help.
std::vector<Advice> advice_for(const Blocker& blocker, const MachineFacts& facts);

/// What to do about a file system that carries no overlays. `place`: a directory that would, if one is known.
Advice overlay_advice(const std::string& place);

/// What fuse-overlayfs needs.
Advice fuse_advice();

/// For the note of an error: the title, and the snippet if it is one line.
std::string one_line(const Advice& advice);

/// "T3: root that may not mount…": what a tier is, in one line.
std::string tier_meaning(Tier tier);

}  // namespace imgbuild::builder
