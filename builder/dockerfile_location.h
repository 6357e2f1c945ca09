#pragma once

#include <memory>
#include <string>

#include "base/source_text.h"

namespace imgbuild::builder {

/// Who chose the path of a Dockerfile: the user of this machine, or somebody who only supplied a context
/// (FS-52).
enum class PathTrust {
  trusted,   ///< a local context or `-f`: links are followed wherever they lead
  confined,  ///< a git checkout or unpacked download: the path, links included, must stay inside the
             ///< directory
};

/// The Dockerfile `path`, relative to `directory` or absolute (then `trusted` only). When the base name is
/// exactly `Dockerfile` and missing, `dockerfile` beside it is taken (PAR-1). The text's name is the path
/// that was read. It must be a regular file of at most 16 MiB. Throws Error that says which file was looked
/// for and what similar names are there.
std::shared_ptr<const SourceText> read_dockerfile(const std::string& directory, const std::string& path,
                                                  PathTrust trust);

/// The ignore file of a main local context (CTX-7): `<dockerfile>.dockerignore` beside the Dockerfile if
/// present (even when empty), else `.dockerignore` in the context root; never merged. `dockerfile` is an
/// absolute path or relative to `context`; empty (standard input, or a named context: CTX-15): only
/// `.dockerignore` is looked for. Null when there is none. Throws Error when it is no regular file, longer
/// than 4 MiB or cannot be read.
std::shared_ptr<const SourceText> find_ignore_file(const std::string& context, const std::string& dockerfile,
                                                   PathTrust trust);

}  // namespace imgbuild::builder
