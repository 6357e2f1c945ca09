#pragma once

#include <optional>
#include <vector>

#include "builder/content_provider.h"
#include "builder/copy_archive.h"
#include "builder/copy_engine.h"
#include "builder/draft_tree.h"
#include "builder/spool.h"

namespace imgbuild::builder {

/// Unpacks the members of an archive into the directory `destination` of the draft (ADD-3…6). Nothing gets
/// out of it: names are clamped, links are resolved with it as the root. `owner` replaces the owners of the
/// archive. `target_content` opens files of the tree below the draft, in case the archive links to one; their
/// bytes are put into `spool`. Throws Error for what cannot be unpacked.
void extract_archive(DraftTree& draft, DraftNode& destination, std::vector<ArchiveMember> members,
                     const std::optional<Owner>& owner, ContentProvider& target_content, Spool& spool);

}  // namespace imgbuild::builder
