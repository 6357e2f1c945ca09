#include "builder/steps/run_mounts.h"

#include <fcntl.h>

#include <algorithm>

#include "base/error.h"
#include "base/secret_bytes.h"
#include "base/strings.h"
#include "builder/tree_copy.h"

namespace imgbuild::builder {

namespace {

using parser::MountOptions;
using Type = MountOptions::Type;

std::string_view type_name(Type type) {
  switch (type) {
    case Type::bind:
      return "bind";
    case Type::cache:
      return "cache";
    case Type::tmpfs:
      return "tmpfs";
    case Type::secret:
      return "secret";
    case Type::ssh:
      return "ssh";
  }
  return "";
}

std::string last_component(const std::string& path) { return path.substr(path.rfind('/') + 1); }

/// Where a bind or cache source lies in its tree, links followed as in a chroot (MNT-26).
ResolvedSource find_source(SourceTree& tree, const MountOptions& options) {
  auto found = resolve_source(tree, options.source, true);
  if (found.node) return found;
  Error error(cat("mount source \"/", printable(found.path), "\" not found",
                  options.from ? cat(" in \"", printable(*options.from), "\"") : " in the build context"));
  if (const auto why = tree.explain_absence(found.path)) error.add_note(*why);
  throw error;
}

}  // namespace

RunMounts::RunMounts(const StepContext& context, const RunOp& op) : context_(context), op_(op) {
  for (const PlannedMount& mount : op.mounts) {
    if (mount.options.type != Type::secret) continue;
    const auto value = context.request.secrets.values.find(mount.options.effective_id());
    if (value == context.request.secrets.values.end()) continue;
    value->second->mark_mounted();
    secret_ids_.push_back(value->first);
  }
}

RunMounts::~RunMounts() {
  for (auto& entry : env_) wipe(entry);
}

void RunMounts::add_to_key(cache::CacheKeyBuilder& key) {
  for (const PlannedMount& mount : op_.mounts) {
    const MountOptions& options = mount.options;
    std::string text = cat(type_name(options.type), " ", mount.target, options.read_only ? " ro" : " rw");
    if (options.type == Type::tmpfs) text += cat(" size=", options.size_bytes);
    if (options.type == Type::secret || options.type == Type::ssh) {
      text += cat(" id=", options.effective_id(), " mode=", options.mode.value_or(0),
                  " uid=", options.uid.value_or(0), " gid=", options.gid.value_or(0),
                  options.required ? " required" : "", " env=", options.env.value_or(""));
    }
    // A cache that is written without an id and without a sharing mode keeps its full name in the key
    // (CAC-14).
    if (options.type == Type::cache && options.effective_id() == mount.target && !options.sharing)
      text += cat(" id=", options.effective_id());
    if (options.type == Type::bind) {
      const auto tree = context_.origins.tree(mount.from);
      text += cat(" content=", subtree_digest(*tree, find_source(*tree, options).path).str());
    }
    key.add("mount", text);
  }
}

void RunMounts::open(const UserIds& user, std::stop_token stop) {
  acquire_caches(user, std::move(stop));
  std::size_t cache_number = 0;
  std::size_t ssh_number = 0;
  for (const PlannedMount& mount : op_.mounts) {
    switch (mount.options.type) {
      case Type::bind:
        open_bind(mount);
        break;
      case Type::cache:
        open_cache(mount, cache_number++);
        break;
      case Type::tmpfs:
        open_tmpfs(mount);
        break;
      case Type::secret:
        open_secret(mount);
        break;
      case Type::ssh:
        open_ssh(mount, ssh_number++);
        break;
    }
  }
}

void RunMounts::open_bind(const PlannedMount& mount) {
  SandboxMount out{.target = mount.target, .read_only = mount.options.read_only};
  if (const auto snapshot = context_.origins.snapshot(mount.from)) {
    context_.host.bases.fetch(snapshot->layers);
    layers_.push_back(context_.host.run().snapshots->open_layers(snapshot->layers));
    out.kind = SandboxMount::Kind::overlay;
    out.lower_dirs = layers_.back()->fds();
    out.private_copy = layers_.back()->is_private_copy();
    out.source_path = mount.options.source;
    mounts_.push_back(std::move(out));
    return;
  }
  // A context is filtered and owned by root as for COPY (MNT-28), so what is mounted is a private copy of it.
  const auto tree = context_.origins.tree(mount.from);
  const auto source = find_source(*tree, mount.options);
  copies_.push_back(context_.host.store.make_work_dir());
  const int copy = copies_.back().fd();
  WriteOptions options;
  options.set_root = true;
  write_subtree(*tree, source.path, copy, options);
  const bool directory = source.node->attributes.type == oci::FileType::directory;
  descriptors_.push_back(open_at(copy, directory ? "." : last_component(source.path), O_PATH));
  out.source_fd = descriptors_.back().get();
  out.kind = SandboxMount::Kind::bind;  // writes go to the private copy and are thrown away with it (MNT-27)
  mounts_.push_back(std::move(out));
}

CacheMountRequest RunMounts::cache_request(const PlannedMount& mount, const UserIds& user) const {
  const MountOptions& options = mount.options;
  const bool of_user = context_.request.cache_mounts_of_user;
  CacheMountRequest request{.id = options.effective_id(),
                            .sharing = options.sharing.value_or(MountOptions::Sharing::shared),
                            .mode = options.mode.value_or(0755),
                            .uid = options.uid.value_or(of_user ? user.uid : 0),
                            .gid = options.gid.value_or(of_user ? user.gid : 0),
                            .seed_key = {},
                            .seed = {}};
  // A sandbox without mounts takes the directory away from everybody else while it is used.
  const Sandbox* const sandbox = context_.host.run().sandbox;
  if (sandbox != nullptr && !sandbox->can_mount()) request.sharing = MountOptions::Sharing::locked;
  if (!std::holds_alternative<FromScratch>(mount.from)) {
    const std::shared_ptr<SourceTree> seed = context_.origins.tree(mount.from);
    const std::string path = find_source(*seed, options).path;
    request.seed_key = subtree_digest(*seed, path).str();
    request.seed = [seed, path](int directory) { write_subtree(*seed, path, directory); };
  }
  return request;
}

void RunMounts::acquire_caches(const UserIds& user, std::stop_token stop) {
  std::vector<CacheMountRequest> requests;
  for (const PlannedMount& mount : op_.mounts) {
    if (mount.options.type == Type::cache) requests.push_back(cache_request(mount, user));
  }
  if (!requests.empty()) caches_ = context_.host.cache_mounts.acquire_all(requests, std::move(stop));
}

void RunMounts::open_cache(const PlannedMount& mount, std::size_t number) {
  mounts_.push_back({.kind = SandboxMount::Kind::bind,
                     .target = mount.target,
                     .source_fd = caches_.at(number).directory.get(),
                     .read_only = mount.options.read_only});
}

void RunMounts::open_tmpfs(const PlannedMount& mount) {
  mounts_.push_back({.kind = SandboxMount::Kind::tmpfs,
                     .target = mount.target,
                     .read_only = mount.options.read_only,
                     .mode = 01777,
                     .size_bytes = mount.options.size_bytes});
}

void RunMounts::open_secret(const PlannedMount& mount) {
  const MountOptions& options = mount.options;
  const auto& values = context_.request.secrets.values;
  const auto value = values.find(options.effective_id());
  if (value == values.end()) {
    if (options.required) {
      throw Error(cat("secret ", printable(options.effective_id()), ": not found"))
          .with_note(cat("give it with --secret id=", printable(options.effective_id()), ",src=FILE"));
    }
    if (options.env) env_.push_back(cat(*options.env, "="));
    return;
  }
  if (options.env) env_.push_back(cat(*options.env, "=", value->second->value()));
  if (mount.target.empty()) return;  // env= without a target makes no file (MNT-44)
  mounts_.push_back({.kind = SandboxMount::Kind::file,
                     .target = mount.target,
                     .secret = value->second,
                     .read_only = true,
                     .no_exec = (options.mode.value_or(0400) & 0111) == 0,
                     .mode = options.mode.value_or(0400),
                     .uid = options.uid.value_or(0),
                     .gid = options.gid.value_or(0)});
}

void RunMounts::open_ssh(const PlannedMount& mount, std::size_t number) {
  const MountOptions& options = mount.options;
  const auto env = op_.scope.entries();
  const bool has_socket_variable = std::any_of(
      env.begin(), env.end(), [](const std::string& entry) { return entry.starts_with("SSH_AUTH_SOCK="); });
  if (number == 0 && !has_socket_variable) env_.push_back(cat("SSH_AUTH_SOCK=", mount.target));
  const SecretStore& secrets = context_.request.secrets;
  const auto socket = secrets.ssh_sockets.find(options.effective_id());
  const auto keys = secrets.ssh_keys.find(options.effective_id());
  const bool has_keys = keys != secrets.ssh_keys.end();
  if (socket == secrets.ssh_sockets.end() && !has_keys) {
    if (!options.required) return;
    throw Error(cat("no SSH key \"", printable(options.id), "\" forwarded from the client"))
        .with_note("forward an agent with --ssh default, or keys with --ssh default=FILE");
  }
  agents_.push_back(
      std::make_unique<SshProxy>(SshProxy::Options{.agent = has_keys ? std::string() : socket->second,
                                                   .keys = has_keys ? keys->second : nullptr,
                                                   .directory = context_.host.store,
                                                   .mode = options.mode.value_or(0600),
                                                   .uid = options.uid.value_or(0),
                                                   .gid = options.gid.value_or(0)}));
  mounts_.push_back({.kind = SandboxMount::Kind::bind,
                     .target = mount.target,
                     .source_fd = agents_.back()->socket_fd(),
                     .read_only = true,
                     .no_exec = true});
}

}  // namespace imgbuild::builder
