#include "builder/linux_sandbox.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/mount.h"
#include "base/strings.h"
#include "builder/ca_cover.h"
#include "builder/capabilities.h"
#include "builder/launch_failure.h"
#include "builder/launch_request.h"
#include "builder/sandbox_mounts.h"
#include "builder/sandbox_watch.h"
#include "builder/seccomp_profile.h"

namespace imgbuild::builder {

namespace {

/// Opens a device of the host and makes sure it is the one its name says (SBX-43).
UniqueFd open_device(const std::string& name, unsigned major_number, unsigned minor_number) {
  const std::string path = cat("/dev/", name);
  UniqueFd fd = open_path(path, O_PATH | O_NOFOLLOW);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) throw SystemError(errno, "stat", path);
  if (!S_ISCHR(info.st_mode) || info.st_rdev != makedev(major_number, minor_number))
    throw Error(cat(path, " is not the device it should be"), ExitCode::system);
  return fd;
}

struct Pipe {
  UniqueFd read, write;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw SystemError(errno, "create", "a pipe");
    read.reset(ends[0]);
    write.reset(ends[1]);
  }
};

struct SocketPair {
  UniqueFd ours, theirs;
  SocketPair() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
      throw SystemError(errno, "create", "a socket");
    ours.reset(ends[0]);
    theirs.reset(ends[1]);
  }
};

/// Whether group 5, that of terminals, exists in this user namespace.
bool has_tty_group() {
  const UniqueFd map = open_path("/proc/self/gid_map", O_RDONLY);
  const std::string text = [&] {
    char bytes[4096];
    const ssize_t size = ::read(map.get(), bytes, sizeof bytes);
    return std::string(bytes, size > 0 ? static_cast<std::size_t>(size) : 0);
  }();
  for (const auto line : split(text, '\n')) {
    std::vector<std::uint64_t> numbers;
    for (const auto word : split(line, ' '))
      if (const auto number = parse_decimal(word)) numbers.push_back(*number);
    if (numbers.size() == 3 && numbers[0] <= 5 && 5 < numbers[0] + numbers[2]) return true;
  }
  return false;
}

void check(const SandboxSpec& spec) {
  if (spec.argv.empty()) throw Error("RUN needs a command: arguments are required");
  if (!spec.working_dir.starts_with('/'))
    throw Error(cat("the working directory ", printable(spec.working_dir), " is not absolute"));
  if (spec.hostname.empty() || spec.hostname.size() > 64)
    throw Error(cat("invalid host name: ", printable(spec.hostname)));
}

/// A command that ran for less has not looked at so many files that the end of its root took long.
constexpr auto kLongCommand = std::chrono::milliseconds(50);
/// What a program that has closed its files may take to end.
constexpr auto kLastBreath = std::chrono::milliseconds(1000);

/// The kernel drops what it knows of every file of the root with its mount: a microsecond or two for each.
std::future<void> unmount_aside(UniqueFd root) {
  return std::async(std::launch::async, [fd = std::move(root)]() mutable { fd.reset(); });
}

void add_cgroup(LaunchRequestBuilder& request, const StepCgroup& cgroup, SandboxMounts& mounts) {
  std::vector<std::uint32_t> joins;
  for (const auto& fd : cgroup.joins()) joins.push_back(mounts.keep(fd.duplicate()));
  request.set_cgroups(std::move(joins));
  if (cgroup.unified() != nullptr) request.fields().cgroup_dir = mounts.keep(cgroup.unified()->duplicate());
}

UniqueFd describe(const SandboxSpec& spec, const LinuxSandbox::Options& options, SandboxMounts& mounts,
                  const KeptLimits& kept) {
  LaunchRequestBuilder request;
  request.set_command(spec);
  request.fields().shared_processes = options.shared_processes ? 1 : 0;
  request.fields().no_groups = options.no_groups ? 1 : 0;
  request.fields().tty_gid = has_tty_group() ? 5 : launch::kNone;
  request.fields().capabilities = spec.insecure ? ~std::uint64_t{0} : default_capabilities();
  request.fields().root_attributes = spec.insecure ? 0 : MOUNT_ATTR_NODEV;  // SBX-60 (c)
  if (!spec.insecure && spec.filter_calls) request.set_filter(default_seccomp_filter());
  if (!spec.insecure && !options.apparmor.attribute.empty()) {
    request.fields().label_file = request.add_string(options.apparmor.attribute);
    request.fields().label = request.add_string(kAppArmorProfile);
  }
  mounts.add_to(request);
  if (spec.network == SandboxSpec::Network::joined)
    request.fields().network = mounts.keep(UniqueFd(::fcntl(spec.network_fd, F_DUPFD_CLOEXEC, 3)));
  if (kept.cgroup) add_cgroup(request, *kept.cgroup, mounts);
  if (kept.processors) request.set_processors(kept.processors->mask());
  request.fields().report_memory = kept.watch.memory_bytes ? 1 : 0;
  return request.finish();
}

}  // namespace

void LinuxSandbox::start() {
  const struct {
    const char* name;
    unsigned major_number, minor_number;
  } wanted[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
                {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
  devices_.clear();
  for (const auto& device : wanted)
    devices_.push_back(open_device(device.name, device.major_number, device.minor_number));
  if (options_.scratch_dir >= 0) stub_layer_ = make_stub_layer(options_.scratch_dir);
  // What sees us in /proc must not read our memory, whatever its user is here.
  if (options_.shared_processes) ::prctl(PR_SET_DUMPABLE, 0);
  launcher_.emplace();
}

SandboxResult LinuxSandbox::run(const SandboxSpec& spec,
                                const std::function<void(int stream, std::string_view)>& output,
                                std::stop_token stop) {
  check(spec);
  if (stop.stop_requested()) throw Cancelled();
  // Before the launcher, which shall not be in our way in a control group.
  KeptLimits kept = limits_.keep(spec.limits, options_.always_unified_group);
  std::call_once(started_, [this] { start(); });
  SandboxMounts mounts(spec, {options_.scratch_dir, options_.flavour, options_.overlay,
                              stub_layer_ ? stub_layer_->fd() : -1, options_.fuse});
  CaCover certificates(
      mounts.root(), spec.rootfs.upper_dir,
      spec.rootfs.root_dir >= 0 ? CaCover::Kind::whole_tree : CaCover::Kind::upper_directory);
  UniqueFd request;
  try {
    if (!spec.ca_bundle.empty()) certificates.add(spec.ca_bundle);
    request = describe(spec, options_, mounts, kept);
  } catch (const SystemError& error) {
    // Why nobody serves a mount says more than that. The connection goes before the program has ended.
    const bool lost = error.error_number() == ENOTCONN || error.error_number() == ECONNABORTED;
    mounts.require_served(lost ? kLastBreath : std::chrono::milliseconds(0));
    throw;
  }
  kept.watch.memory_file_systems = mounts.memory();
  kept.watch.has_keeper = options_.shared_processes;
  std::optional<Watchdog> watchdog;
  if (kept.watch.any()) watchdog.emplace(kept.watch);
  WatchResult result;
  const auto begin = std::chrono::steady_clock::now();
  {
    const UniqueFd null = open_path("/dev/null", O_RDONLY);
    Pipe out, errors, report;
    SocketPair reply;
    std::vector<int> fds = {request.get(),   reply.theirs.get(), report.write.get(), null.get(),
                            out.write.get(), errors.write.get(), mounts.root(),      mounts.context()};
    std::vector<UniqueFd> devices;
    for (const auto& device : devices_) {
      devices.push_back(clone_mount(device.get(), ""));
      fds.push_back(devices.back().get());
    }
    for (const auto& fd : mounts.fds()) fds.push_back(fd.get());
    launcher_->send(fds);
    for (UniqueFd* theirs : {&reply.theirs, &report.write, &out.write, &errors.write}) theirs->reset();
    try {
      result = watch_launch(
          {std::move(out.read), std::move(errors.read), std::move(report.read), std::move(reply.ours)}, spec,
          options_.stop_times, watchdog ? &*watchdog : nullptr, output, stop);
    } catch (const StuckProcess&) {
      mounts.leave();
      if (stub_layer_) stub_layer_->release();
      throw;
    }
  }
  if (stop.stop_requested()) {
    mounts.clean();
    certificates.remove();
    throw Cancelled();
  }
  mounts.require_served();
  mounts.clean();
  certificates.remove();
  mounts.finish_served();
  SandboxResult done = result_of(result, kept, spec.limits);
  if (result.failure && !result.timed_out) done.exit_code = explain_failure(*result.failure, spec, output);
  if (std::chrono::steady_clock::now() - begin > kLongCommand)
    done.unmounted = unmount_aside(mounts.take_root());
  return done;
}

}  // namespace imgbuild::builder
