#pragma once

#include <string>
#include <vector>

#include "builder/source_tree.h"

namespace imgbuild::builder {

/// True if `path` contains `*`, `?` or `[` without a backslash in front (COPY-6).
bool has_wildcard(std::string_view path) noexcept;

/// The paths of `tree` that the clean pattern `pattern` matches, in lexical order; below a match nothing more
/// is looked for. Links are resolved in the part before the first wildcard only. Throws Error when that part
/// does not exist and SyntaxError for a malformed pattern (COPY-6, 7).
std::vector<std::string> expand_wildcard(SourceTree& tree, const std::string& pattern);

}  // namespace imgbuild::builder
