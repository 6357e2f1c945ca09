#pragma once

#include "oci/file_tree.h"
#include "oci/node_metadata.h"

namespace imgbuild::builder {

/// Puts the lower directory `layer` of an overlay over the lower directory `into`, so that `into` shows what
/// both show one on top of the other (SBX-33, SBX-35) on top of `below`, the tree of all layers below `into`.
/// Deletions stay recorded only where there is something below to be hidden: the kernel shows the record of
/// one in a directory that lies in one layer only. Files are linked, not copied, so both must lie on one file
/// system and never change any more. Names are hostile: nothing is followed. Both of `flavour`. Throws
/// SystemError; `into` is useless then.
void merge_lower(int layer, int into, const oci::FileTree& below, oci::OverlayFlavour flavour);

}  // namespace imgbuild::builder
