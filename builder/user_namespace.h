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

/// The map of a user namespace, made by this one, that has all its ids under the same numbers; `map` is this
/// one's uid_map or gid_map.
std::string identity_map(std::string_view map);

/// Finds the best tier this process can have and moves into it: root that may mount stays where it is, others
/// become root of a user namespace with as many ids as they can get (RLS-3, RLS-4, RLS-5). Call once, at the
/// start, while there is a single thread. Never throws: what cannot be had is explained in the result, and
/// the process is then as it was, or, after a failure half-way, in a namespace without rights.
/// `shared_processes`: commands need no /proc of their own.
TierReport enter_user_namespace(Isolation isolation, bool shared_processes) noexcept;

}  // namespace imgbuild::builder
