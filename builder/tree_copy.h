#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/digest.h"
#include "builder/source_tree.h"

namespace imgbuild::builder {

/// Digest of what stands at `path` in `tree`: names below it, types, modes, owners, sizes, link texts,
/// contents; never times, never `path` itself (CAC-15, CAC-22). A file and a directory never share one.
Digest subtree_digest(SourceTree& tree, const std::string& path);

struct WriteOptions {
  bool set_owner = true;          ///< false: everything belongs to whoever writes
  bool set_root = false;          ///< `directory` itself takes the attributes of `path`
  bool replace = false;           ///< merge into what is there: files are replaced, directories kept
  std::optional<Timestamp> time;  ///< mtime of everything; nothing: as the tree says
  /// Called with the path of what cannot be written (devices); unset: that is an error.
  std::function<void(const std::string&)> on_skipped;
};

/// Writes the directory or regular file at `path` into the directory `directory`: a directory's content goes
/// there itself, a file under its base name. Modes, times and hard links are kept. Throws Error or
/// SystemError; what was written stays.
void write_subtree(SourceTree& tree, const std::string& path, int directory,
                   const WriteOptions& options = {});

}  // namespace imgbuild::builder
