#include "builder/remote_context.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/error.h"
#include "base/strings.h"
#include "builder/copy_archive.h"
#include "builder/environment.h"
#include "builder/front_end.h"
#include "builder/memory_source.h"
#include "builder/remote_sources.h"
#include "builder/spool.h"
#include "oci/http_url.h"
#include "parser/git_reference.h"

namespace imgbuild::builder {

namespace {

constexpr std::uint64_t kMaxDockerfile = std::uint64_t{16} << 20;

/// A member's path without `./`, doubled slashes and a leading slash. Throws for `..` (FS-53).
std::string clean_member_path(const std::string& path) {
  std::string out;
  for (const auto part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..")
      throw IntegrityError(cat("the context archive holds the path \"", printable(path), "\""));
    if (!out.empty()) out += '/';
    out += part;
  }
  return out;
}

Digest digest_of(const oci::ContentOpener& open) {
  NullSink nothing;
  HashSink hash(nothing);
  const auto source = open();
  copy(*source, hash);
  return hash.digest();
}

/// An unpacked archive as a context. `spool` holds the contents and lives as long as the tree.
class ArchiveContext final : public SourceTree {
 public:
  /// Of the newest file (SDE-2).
  std::optional<std::int64_t> newest() const { return newest_; }

  ArchiveContext(std::vector<ArchiveMember> members, std::shared_ptr<Spool> spool)
      : spool_(std::move(spool)) {
    std::map<std::string, const ArchiveMember*> files;
    std::map<std::string, std::uint64_t> link_groups;
    for (const auto& member : members) {
      const std::string path = clean_member_path(member.path);
      if (path.empty()) continue;
      const ArchiveMember* real = &member;
      std::uint64_t link_group = 0;
      if (member.link_to) {
        const std::string linked = clean_member_path(*member.link_to);
        link_group = link_groups.try_emplace(linked, link_groups.size() + 1).first->second;
        const auto target = files.find(linked);
        if (target == files.end())
          throw IntegrityError(cat("the context archive links to a missing file: ", printable(path)));
        real = target->second;
      }
      const std::int64_t seconds = member.attributes.mtime.seconds;
      if (real->attributes.type == oci::FileType::regular && (!newest_ || seconds > *newest_))
        newest_ = seconds;
      files[path] = real;
      if (real->attributes.type != oci::FileType::regular) {
        tree_.add(path, {real->attributes, link_group});
      } else if (real->open) {
        tree_.add_file(path, real->attributes, real->open, digest_of(real->open));
      } else {
        tree_.add_file(path, real->attributes, std::string());
      }
    }
  }

  std::optional<SourceNode> find(const std::string& path) override { return tree_.find(path); }
  SourceListing list(const std::string& path) override { return tree_.list(path); }
  oci::ContentOpener open(const std::string& path) override { return tree_.open(path); }
  Digest content_digest(const std::string& path) override { return tree_.content_digest(path); }

 private:
  std::shared_ptr<Spool> spool_;
  MemorySource tree_;
  std::optional<std::int64_t> newest_;
};

std::shared_ptr<ArchiveContext> try_unpack(const oci::ContentOpener& open, std::string_view name,
                                           Host& host) {
  auto spool = std::make_shared<Spool>(host.store.work_fd());
  auto members = read_archive(open, name, *spool);
  if (!members) return nullptr;
  return std::make_shared<ArchiveContext>(std::move(*members), std::move(spool));
}

/// The Dockerfile inside a context that came from elsewhere: links are resolved inside it (FS-52).
std::shared_ptr<const SourceText> read_from_tree(SourceTree& tree, const std::string& wanted) {
  std::string path = wanted.empty() ? "Dockerfile" : wanted;
  auto found = resolve_source(tree, path, true);
  if (!found.node && wanted.empty()) found = resolve_source(tree, "dockerfile", true);
  if (!found.node || found.node->attributes.type != oci::FileType::regular) {
    throw Error(cat("the context holds no file ", printable(path)))
        .with_note("name another one with -f, relative to the context");
  }
  const auto source = tree.open(found.path)();
  return std::make_shared<SourceText>(path, read_all(*source, kMaxDockerfile, path));
}

std::shared_ptr<const SourceText> read_dockerfile_argument(const BuildRequest& request) {
  const UniqueFd file =
      open_path(request.dockerfile == "-" ? request.stdin_content : request.dockerfile, O_RDONLY);
  const std::string name = request.dockerfile == "-" ? "Dockerfile" : request.dockerfile;
  return std::make_shared<SourceText>(name, read_file(file.get(), kMaxDockerfile, name));
}

/// A tar, or a bare Dockerfile: then the context holds that file alone, named `context` (CTX-5).
void use_single_file(BuildInputs& inputs, const BuildRequest& request, Host& host,
                     const oci::ContentOpener& open, const Timestamp& mtime, std::string_view name) {
  if (auto tree = try_unpack(open, name, host)) {
    inputs.context_time = tree->newest();
    inputs.context = std::move(tree);
    inputs.dockerfile_text = read_from_tree(*inputs.context, request.dockerfile);
    return;
  }
  const auto source = open();
  const std::string text = read_all(*source, kMaxDockerfile, name);
  auto tree = std::make_shared<MemorySource>();
  tree->add_file("context", {.type = oci::FileType::regular, .mode = 0600, .mtime = mtime}, text);
  inputs.context = std::move(tree);
  inputs.dockerfile_text = std::make_shared<SourceText>("Dockerfile", text);
}

bool wants_epoch(const BuildRequest& request) {
  if (request.timestamp) return true;
  return std::any_of(request.build_args.begin(), request.build_args.end(),
                     [](const auto& arg) { return arg.first == "SOURCE_DATE_EPOCH" && !arg.second.empty(); });
}

oci::ContentOpener open_file(const std::string& path) {
  return [path] { return std::make_unique<FileSource>(open_path(path, O_RDONLY), path); };
}

}  // namespace

void load_remote_inputs(BuildInputs& inputs, const BuildRequest& request, Host& host, std::stop_token stop) {
  const Timestamp now = host.clock();
  if (request.context == "-") {
    use_single_file(inputs, request, host, open_file(request.stdin_content), now, "standard input");
    return;
  }
  RemoteRequest remote{
      .source = request.context, .checksum = {}, .keep_git_dir = std::nullopt, .build_time = now};
  if (auto git = parser::parse_git_reference(request.context)) {
    if (keeps_context_git_dir(collect_build_args(request.build_args)) && !git->keep_git_dir)
      remote.keep_git_dir = true;                                           // ARG-25
    if (git->mtime.empty() && wants_epoch(request)) git->mtime = "commit";  // CTX-4
    const auto result = host.remote.fetch_git_tree(*git, remote, true, request.secrets, stop);
    inputs.context = result.tree;
    inputs.context_time = result.commit_time;
    inputs.dockerfile_text = request.dockerfile == "-" ? read_dockerfile_argument(request)
                                                       : read_from_tree(*inputs.context, request.dockerfile);
    return;
  }
  const auto result = host.remote.fetch_file(remote, "context", request.secrets, stop);
  use_single_file(inputs, request, host, result.tree->open("context"), result.file->mtime, request.context);
  if (result.file->mtime.seconds != 0) inputs.context_time = result.file->mtime.seconds;
  inputs.keep_alive = result.tree;
}

std::shared_ptr<SourceTree> open_remote_tree(const std::string& value, const BuildRequest& request,
                                             Host& host, std::stop_token stop) {
  RemoteRequest remote{
      .source = value, .checksum = {}, .keep_git_dir = std::nullopt, .build_time = host.clock()};
  if (const auto git = parser::parse_git_reference(value)) {
    return host.remote.fetch_git_tree(*git, remote, true, request.secrets, stop).tree;
  }
  if (oci::is_http(value)) return host.remote.fetch_file(remote, "context", request.secrets, stop).tree;
  struct stat info {};
  if (::stat(value.c_str(), &info) == 0 && S_ISREG(info.st_mode)) {
    if (auto tree = try_unpack(open_file(value), value, host)) return tree;
    throw Error(cat(printable(value), " is neither a directory nor a tar archive"), ExitCode::usage);
  }
  throw Error(cat("unsupported context source ", printable(value)), ExitCode::usage)
      .with_note(
          "use a directory, a tar file, docker-image://NAME, oci-layout://FOLDER, a git reference or a URL");
}

}  // namespace imgbuild::builder
