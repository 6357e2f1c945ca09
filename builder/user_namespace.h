#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "builder/probe.h"

namespace imgbuild::builder {

/// A range of ids that belong to a user, from /etc/subuid or /etc/subgid.
struct IdRange {
  std::uint32_t first = 0, count = 0;
};

/// The first range `text` (a subuid file) gives to the user, who may stand there by name or number (RLS-2).
std::optional<IdRange> find_id_range(std::string_view text, std::string_view user_name, uid_t uid);

/// Finds the best tier this process can have and moves into it: root stays where it is, an ordinary user
/// becomes root of a user namespace with all their ids (RLS-3). Call once, at the start, while there is a
/// single thread. Never throws: what cannot be had is explained in the result, and the process is then as it
/// was, or, after a failure half-way, in a namespace without rights.
TierReport enter_user_namespace() noexcept;

}  // namespace imgbuild::builder
