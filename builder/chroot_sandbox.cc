#include "builder/chroot_sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/strings.h"
#include "builder/ca_cover.h"
#include "builder/capabilities.h"
#include "builder/launch_failure.h"
#include "builder/launch_request.h"
#include "builder/sandbox_watch.h"
#include "builder/seccomp_profile.h"
#include "builder/tree_covers.h"

namespace imgbuild::builder {

namespace {

const std::uint64_t kDefaultShmSize = SandboxSpec().shm_size_bytes;

/// Who may change the root again gets out of this one. Where we hold all rights ourselves there is no
/// container around us that limits devices, so a command must not make any.
std::uint64_t capabilities() {
  std::uint64_t out = default_capabilities() & ~capability_bit(CAP_SYS_CHROOT);
  if (has_capability(own_capabilities(), CAP_SYS_ADMIN)) out &= ~capability_bit(CAP_MKNOD);
  return out;
}

void check(const SandboxSpec& spec) {
  if (spec.argv.empty()) throw Error("RUN needs a command: arguments are required");
  if (spec.rootfs.root_dir < 0) throw Error("a sandbox without mounts needs a root directory");
  const auto refuse = [](std::string_view what, const char* hint) {
    UnsupportedError error(cat(what, " needs namespaces, which cannot be had here"));
    error.add_note(hint);
    throw error;
  };
  if (spec.network != SandboxSpec::Network::host)
    refuse("a network other than the host's", "imgbuild doctor says what would help");
  // Without mounts both are directories beside the other files, which nothing limits.
  if (spec.shm_size_bytes != kDefaultShmSize)
    refuse("--shm-size", "leave it out, or see imgbuild doctor for what would help");
  for (const auto& mount : spec.mounts)
    if (mount.kind == SandboxMount::Kind::tmpfs && mount.size_bytes != 0)
      refuse(cat("the size of the tmpfs at ", printable(mount.target)),
             "leave out size=, or see imgbuild doctor for what would help");
  if (spec.insecure) refuse("RUN --security=insecure", "imgbuild doctor says what would help");
}

/// `fds`: what goes along with the request.
UniqueFd describe(const SandboxSpec& spec, const KeptLimits& kept, std::vector<int>& fds) {
  LaunchRequestBuilder request;
  request.set_command(spec);
  request.fields().chroot_only = 1;
  request.fields().shared_processes = 1;
  request.fields().tty_gid = launch::kNone;
  request.fields().capabilities = capabilities();
  // Loading a filter takes rights that a container does not give; its own applies then (SBX-97).
  if (spec.filter_calls && has_capability(own_capabilities(), CAP_SYS_ADMIN))
    request.set_filter(default_seccomp_filter());
  if (kept.processors) request.set_processors(kept.processors->mask());
  if (kept.cgroup) {
    std::vector<std::uint32_t> joins;
    for (const auto& fd : kept.cgroup->joins()) {
      joins.push_back(static_cast<std::uint32_t>(fds.size()));
      fds.push_back(fd.get());
    }
    request.set_cgroups(std::move(joins));
  }
  return request.finish();
}

struct Ends {
  UniqueFd ours, theirs;
};

Ends make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw SystemError(errno, "create", "a pipe");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Ends make_sockets() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    throw SystemError(errno, "create", "a socket");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace

SandboxResult ChrootSandbox::run(const SandboxSpec& spec,
                                 const std::function<void(int stream, std::string_view)>& output,
                                 std::stop_token stop) {
  check(spec);
  if (stop.stop_requested()) throw Cancelled();
  KeptLimits kept = limits_.keep(spec.limits);  // before the launcher
  kept.watch.has_keeper = true;
  std::call_once(started_, [this] {
    // A command of the same user sees our entries in /proc, if it gets at a /proc, and must not read our
    // memory.
    ::prctl(PR_SET_DUMPABLE, 0);
    launcher_.emplace();
  });
  TreeCovers covers(spec.rootfs.root_dir, options_.scratch_dir,
                    {.allow_secrets = options_.allow_disk_secrets});
  covers.add_all(spec);
  CaCover certificates(spec.rootfs.root_dir, spec.rootfs.root_dir, CaCover::Kind::whole_tree);
  if (!spec.ca_bundle.empty()) certificates.add(spec.ca_bundle);
  const UniqueFd null = open_path("/dev/null", O_RDONLY);
  Ends out = make_pipe(), errors = make_pipe(), report = make_pipe(), reply = make_sockets();
  std::vector<int> fds = {-1,
                          reply.theirs.get(),
                          report.theirs.get(),
                          null.get(),
                          out.theirs.get(),
                          errors.theirs.get(),
                          spec.rootfs.root_dir,
                          spec.rootfs.root_dir};
  while (fds.size() < launch::fd_first_mount) fds.push_back(null.get());  // devices, which are in the root
  const UniqueFd request = describe(spec, kept, fds);
  fds[launch::fd_request] = request.get();
  std::optional<Watchdog> watchdog;
  if (kept.watch.any()) watchdog.emplace(kept.watch);
  launcher_->send(fds);
  for (Ends* ends : {&reply, &report, &out, &errors}) ends->theirs.reset();
  WatchResult result;
  try {
    result = watch_launch(
        {std::move(out.ours), std::move(errors.ours), std::move(report.ours), std::move(reply.ours)}, spec,
        options_.stop_times, watchdog ? &*watchdog : nullptr, output, stop);
  } catch (const StuckProcess&) {
    covers.leave();
    throw;
  }
  certificates.remove();
  covers.remove_all();
  if (stop.stop_requested()) throw Cancelled();
  SandboxResult done = result_of(result, kept, spec.limits);
  if (result.failure && !result.timed_out) done.exit_code = explain_failure(*result.failure, spec, output);
  return done;
}

}  // namespace imgbuild::builder
