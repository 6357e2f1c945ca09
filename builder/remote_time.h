#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>

#include "builder/build.h"
#include "builder/evaluate.h"

namespace imgbuild::builder {

/// When the source of an ADD was made, seconds since 1970 (SDE-2): the time of the commit, the Last-Modified
/// of a download, else that of the newest file of the archive it is. Nothing for a download without either.
/// Throws as RemoteFetcher does.
std::optional<std::int64_t> remote_add_time(const RemoteAdd& add, const BuildRequest& request, Host& host,
                                            std::stop_token stop);
/// The same for a named context; nothing for directories and images.
std::optional<std::int64_t> named_context_time(const NamedContext& context, const BuildRequest& request,
                                               Host& host, std::stop_token stop);

}  // namespace imgbuild::builder
