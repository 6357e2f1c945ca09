#pragma once

#include <string>

#include "base/digest.h"
#include "builder/source_tree.h"

namespace imgbuild::builder {

/// Digest of what stands at `path` in `tree`: names below it, types, modes, owners, sizes, link texts, contents;
/// never times, never `path` itself (CAC-15, CAC-22). A file and a directory never share one.
Digest subtree_digest(SourceTree& tree, const std::string& path);

/// Writes the directory or regular file at `path` into the empty directory `directory`: a directory's content goes
/// there itself, a file under its base name. Modes and times are kept, owners set as the tree gives them. Only
/// regular files, directories, links and FIFOs can be written; others throw Error.
void write_subtree(SourceTree& tree, const std::string& path, int directory);

}  // namespace imgbuild::builder
