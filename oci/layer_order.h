#pragma once

#include <vector>

#include "oci/file_tree.h"
#include "oci/layer_entry.h"

namespace imgbuild::oci {

/// Puts entries in the order a layer has them (LAY-32): depth first; within a directory its own entry, then
/// its whiteouts, then its other children, both by the bytes of their names. When a hard link comes before
/// its target that way, the first name gets the file and the others become links to it (LAY-23). Hard links
/// get the attributes of their target. Throws Error for a hard link whose target is not among the entries.
std::vector<PendingEntry> order_entries(std::vector<PendingEntry> entries);

/// Adds the parent directories that `entries` do not mention, with their attributes in `merged` (LAY-33):
/// leaving them out would reset them to 0755 root:root on several consumers. Order does not matter; the
/// result is not sorted. Throws Error for a parent that is no directory there either.
std::vector<PendingEntry> add_parents(std::vector<PendingEntry> entries, const FileTree& merged);

}  // namespace imgbuild::oci
