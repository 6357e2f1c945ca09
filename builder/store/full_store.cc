#include "builder/store/full_store.h"

#include <sys/statvfs.h>

#include <cerrno>
#include <cstdint>

#include "base/strings.h"

namespace imgbuild::builder {

std::optional<Error> full_store(const SystemError& error, int store) {
  struct statvfs info {};
  if ((error.error_number() != ENOSPC && error.error_number() != EDQUOT) || ::fstatvfs(store, &info) != 0)
    return std::nullopt;
  const std::uint64_t free_bytes = std::uint64_t{info.f_bavail} * info.f_frsize;
  const bool no_names = info.f_files != 0 && info.f_favail == 0;
  if (error.error_number() == ENOSPC && free_bytes > (1u << 20) && !no_names) return std::nullopt;
  Error full(
      cat("the store is full: ", no_names ? "its file system has no room for another file"
                                          : cat(human_size(free_bytes), " are left on its file system")),
      ExitCode::system);
  if (error.where()) full.locate(*error.where());
  full.add_context(error.message());
  for (const auto& context : error.context()) full.add_context(context);
  full.add_note("free space with imgbuild prune --all, or put the store elsewhere with --root");
  return full;
}

}  // namespace imgbuild::builder
