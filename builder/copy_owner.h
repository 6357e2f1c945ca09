#pragma once

#include <string>
#include <string_view>

#include "builder/copy_engine.h"

namespace imgbuild::builder {

/// Who owns what --chown=`text` or WORKDIR under USER `text` makes (COPY-50…53). Names are looked up in the
/// target; unknown ones are no error: user 0:0, group the user's own. Throws Error "invalid user index: -1"
/// for a name when the target has nothing in it at all.
Owner resolve_owner(std::string_view text, const oci::FileTree& target, ContentProvider& owner_files);

/// The same text for all spellings that cannot differ in what they resolve to: `root`, `0` and `0:0`
/// (CAC-20).
std::string canonical_owner(std::string_view text);

}  // namespace imgbuild::builder
