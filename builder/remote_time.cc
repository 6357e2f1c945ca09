#include "builder/remote_time.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/strings.h"
#include "builder/copy_archive.h"
#include "builder/remote_sources.h"
#include "oci/http_url.h"
#include "parser/git_reference.h"

namespace imgbuild::builder {

namespace {

std::optional<std::int64_t> time_of(const RemoteResult& result, const std::string& name) {
  if (result.commit_time) return result.commit_time;
  if (!result.file) return std::nullopt;
  if (result.file->mtime.seconds != 0) return result.file->mtime.seconds;
  return newest_file_time(result.tree->open(result.path), name);
}

}  // namespace

std::optional<std::int64_t> remote_add_time(const RemoteAdd& add, const BuildRequest& request, Host& host,
                                            std::stop_token stop) {
  const RemoteRequest remote{.source = add.source,
                             .checksum = add.checksum,
                             .keep_git_dir = std::nullopt,
                             .build_time = host.clock()};
  return time_of(host.remote.fetch(remote, request.secrets, stop), add.source);
}

std::optional<std::int64_t> named_context_time(const NamedContext& context, const BuildRequest& request,
                                               Host& host, std::stop_token stop) {
  const std::string& value = context.value;
  const RemoteRequest remote{
      .source = value, .checksum = {}, .keep_git_dir = std::nullopt, .build_time = host.clock()};
  struct stat info {};
  const bool exists = ::stat(value.c_str(), &info) == 0;
  if (exists && S_ISDIR(info.st_mode)) return std::nullopt;
  try {
    if (const auto git = parser::parse_git_reference(value))
      return time_of(host.remote.fetch_git_tree(*git, remote, true, request.secrets, stop), value);
    if (oci::is_http(value)) return time_of(host.remote.fetch_file(remote, {}, request.secrets, stop), value);
    if (exists && S_ISREG(info.st_mode)) {
      const auto open = [&value] { return std::make_unique<FileSource>(open_path(value, O_RDONLY), value); };
      return newest_file_time(open, value);
    }
  } catch (Error& error) {
    error.add_context(cat("looking for the time of the build context ", printable(context.name)));
    throw;
  }
  return std::nullopt;
}

}  // namespace imgbuild::builder
