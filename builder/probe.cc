#include "builder/probe.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/mount.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "builder/capabilities.h"
#include "builder/fuse_overlay.h"
#include "builder/overlay_mount.h"
#include "builder/overlay_options.h"
#include "builder/whiteout.h"

namespace imgbuild::builder {

namespace {

enum class Step : int { done, user_namespace, namespaces, private_mounts, proc, lost };

struct Report {
  Step step = Step::lost;
  int error_number = 0;
};

/// In the child: only calls to the kernel.
Report try_namespaces(const NamespaceProbe& probe) {
  const int processes = probe.shared_processes ? 0 : CLONE_NEWPID;
  if (probe.new_user && ::unshare(CLONE_NEWUSER) != 0) return {Step::user_namespace, errno};
  if (::unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP | processes) != 0)
    return {Step::namespaces, errno};
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return {Step::private_mounts, errno};
  if (probe.shared_processes) return {Step::done, 0};
  const pid_t inner = ::_Fork();
  if (inner == 0) {  // a new /proc shows the namespace of who mounts it
    const int context = ::fsopen("proc", FSOPEN_CLOEXEC);
    const bool mounted = context >= 0 && ::fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0 &&
                         ::fsmount(context, FSMOUNT_CLOEXEC, 0) >= 0;
    ::_exit(mounted ? 0 : errno);
  }
  int status = 0;
  if (inner < 0 || ::waitpid(inner, &status, 0) != inner) return {Step::namespaces, errno};
  const int error_number = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
  return {error_number == 0 ? Step::done : Step::proc, error_number};
}

std::string_view step_text(Step step) {
  switch (step) {
    case Step::done:
      return "";
    case Step::user_namespace:
      return "create a user namespace";
    case Step::namespaces:
      return "create namespaces";
    case Step::private_mounts:
      return "change mounts in a namespace";
    case Step::proc:
      return "mount /proc";
    case Step::lost:
      return "start a process";
  }
  return "";
}

bool has_whiteout(int upper) {
  struct stat info {};
  return ::fstatat(upper, "file", &info, AT_SYMLINK_NOFOLLOW) == 0 && is_whiteout(info);
}

/// Deletes a file and replaces a directory through the overlay that `merge` makes, and looks for the marks.
template <typename Merge>
ProbeFailure try_overlay(int dir, const Merge& merge) {
  for (const char* name : {"lower", "upper", "work"}) ensure_dir_at(dir, name, 0755);
  const UniqueFd lower = open_at(dir, "lower", O_RDONLY | O_DIRECTORY),
                 upper = open_at(dir, "upper", O_RDONLY | O_DIRECTORY),
                 work = open_at(dir, "work", O_RDONLY | O_DIRECTORY);
  open_at(lower.get(), "file", O_WRONLY | O_CREAT, 0644);
  ensure_dir_at(lower.get(), "dir", 0755);
  const UniqueFd merged = merge(OverlayDirs{{lower.get()}, upper.get(), work.get()});
  if (::unlinkat(merged.get(), "file", 0) != 0) throw SystemError(errno, "use an overlay:", "delete a file");
  if (::unlinkat(merged.get(), "dir", AT_REMOVEDIR) != 0)
    throw SystemError(errno, "use an overlay:", "delete a directory");
  if (::mkdirat(merged.get(), "dir", 0755) != 0)
    throw SystemError(errno, "use an overlay:", "replace a directory");
  if (!has_whiteout(upper.get())) return {"record a deletion in an overlay", 0};
  return {};
}

ProbeFailure try_kernel(int dir, oci::OverlayFlavour flavour) {
  std::string wrong;
  const auto failure = try_overlay(dir, [&](const OverlayDirs& dirs) {
    UniqueFd merged = mount_overlay(dirs, flavour);
    wrong = wrong_overlay_option(merged.get(), flavour);
    return merged;
  });
  if (failure.failed() || wrong.empty()) return failure;
  return {cat("mount an overlay with the options layers need: ", wrong), 0};
}

/// What `attempt` says of a scratch directory in the store. What is short just now is thrown.
template <typename Attempt>
ProbeFailure probe_store(const StoreDir& store, const Attempt& attempt) {
  try {
    const TempDir dir = store.make_work_dir();
    return attempt(dir.fd());
  } catch (const SystemError& error) {
    const int number = error.error_number();
    if (is_passing(number) || number == ENOSPC || number == EDQUOT || number == EROFS) throw;
    std::string what = error.message();
    for (const auto& note : error.notes()) what += cat(" (", note, ")");
    return {std::move(what), error.error_number()};
  }
}

}  // namespace

std::string_view tier_name(Tier tier) noexcept {
  constexpr std::string_view kNames[] = {"T0", "T1", "T2", "T3", "T4"};
  return kNames[static_cast<std::size_t>(tier)];
}

std::string Blocker::text() const {
  const auto failed = [this](std::string_view what) {
    return error_number == 0 ? std::string(what) : cat(what, ": ", to_lower(std::strerror(error_number)));
  };
  switch (cause) {
    case Cause::not_root:
      return "not started as root";
    case Cause::no_admin_right:
      return "root without the right to mount (CAP_SYS_ADMIN), as in a container";
    case Cause::not_first_namespace:
      return "root of a user namespace only";
    case Cause::user_namespace:
      return failed("user namespaces cannot be created");
    case Cause::no_subordinate_ids:
      return cat("no subordinate ids in ", detail);
    case Cause::no_map_helper:
      return "newuidmap and newgidmap are missing";
    case Cause::no_new_privs:
      return "the process may not gain privileges (no_new_privs), so newuidmap cannot work";
    case Cause::map_failed:
      return failed(cat(detail, " failed"));
    case Cause::namespaces:
      return failed("namespaces cannot be created");
    case Cause::private_mounts:
      return failed("mounts cannot be changed in a namespace");
    case Cause::proc:
      return failed("a new /proc cannot be mounted");
    case Cause::processes:
      return failed("processes cannot be started");
    case Cause::chroot_right:
      return cat("root without ", detail);
    case Cause::devices:
      return failed(cat("devices cannot be ", detail, " in the store"));
    case Cause::not_wanted:
      return cat("excluded by ", detail);
  }
  return {};
}

bool is_passing(int error_number) noexcept {
  constexpr int kShort[] = {EMFILE, ENFILE, ENOMEM, EAGAIN, EIO};
  return std::find(std::begin(kShort), std::end(kShort), error_number) != std::end(kShort);
}

std::optional<Blocker> probe_chroot(const StoreDir& store) {
  const auto blocked = [](Blocker::Cause cause, std::string detail, int error_number = 0) {
    return Blocker{Tier::chroot, cause, error_number, std::move(detail)};
  };
  if (::geteuid() != 0) return blocked(Blocker::Cause::not_root, "");
  constexpr struct {
    unsigned number;
    const char* name;
  } kNeeded[] = {
      {CAP_SYS_CHROOT, "CAP_SYS_CHROOT"}, {CAP_CHOWN, "CAP_CHOWN"},   {CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
      {CAP_FOWNER, "CAP_FOWNER"},         {CAP_SETUID, "CAP_SETUID"}, {CAP_SETGID, "CAP_SETGID"},
      {CAP_SETPCAP, "CAP_SETPCAP"},       {CAP_MKNOD, "CAP_MKNOD"}};
  const std::uint64_t held = own_capabilities();
  for (const auto& needed : kNeeded)
    if (!has_capability(held, needed.number)) return blocked(Blocker::Cause::chroot_right, needed.name);
  const TempDir dir = store.make_work_dir();
  if (::mknodat(dir.fd(), "null", S_IFCHR | 0600, makedev(1, 3)) != 0)
    return blocked(Blocker::Cause::devices, "made", errno);
  const UniqueFd null(::openat(dir.fd(), "null", O_RDWR | O_CLOEXEC));
  if (!null) return blocked(Blocker::Cause::devices, "opened", errno);
  return std::nullopt;
}

ProbeFailure probe_namespaces(const NamespaceProbe& probe) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {"create a pipe", errno};
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const pid_t child = ::_Fork();
  if (child < 0) return {"start a process", errno};
  if (child == 0) {
    const Report report = try_namespaces(probe);
    static_cast<void>(::write(write_end.get(), &report, sizeof report) == 0);
    ::_exit(0);
  }
  write_end.reset();
  Report report;
  if (::read(read_end.get(), &report, sizeof report) != static_cast<ssize_t>(sizeof report))
    report = {Step::lost, EIO};
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  using Cause = Blocker::Cause;
  constexpr Cause kCauses[] = {Cause::namespaces,     Cause::user_namespace, Cause::namespaces,
                               Cause::private_mounts, Cause::proc,           Cause::processes};
  return {std::string(step_text(report.step)), report.error_number,
          kCauses[static_cast<std::size_t>(report.step)]};
}

ProbeFailure probe_overlay(const StoreDir& store, oci::OverlayFlavour flavour) {
  return probe_store(store, [&](int dir) { return try_kernel(dir, flavour); });
}

ProbeFailure probe_fuse(const StoreDir& store, const FuseProgram& program, oci::OverlayFlavour flavour) {
  if (!program.usable()) return {program.problem, 0};
  std::optional<FuseOverlay> overlay;
  const auto attempt = [&](int dir) {
    const auto failure = try_overlay(dir, [&](const OverlayDirs& dirs) {
      overlay.emplace(program, dirs);
      return overlay->take_mount();
    });
    overlay->finish();
    if (failure.failed()) return failure;
    // The program can do without; what is extracted for it cannot.
    const UniqueFd lower = open_at(dir, "lower", O_RDONLY | O_DIRECTORY);
    oci::MetadataWriter({.flavour = flavour}).mark_opaque(lower.get(), "a directory");
    return ProbeFailure{};
  };
  try {
    return probe_store(store, attempt);
  } catch (const SystemError&) {
    throw;
  } catch (const Error& error) {
    std::string what = error.message();
    for (const auto& note : error.notes()) what += cat(" (", note, ")");
    return {std::move(what), 0};
  }
}

}  // namespace imgbuild::builder
