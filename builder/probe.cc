#include "builder/probe.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/mount.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "builder/overlay_mount.h"
#include "builder/overlay_options.h"

namespace imgbuild::builder {

namespace {

enum class Step : int { done, namespaces, private_mounts, proc, lost };

struct Report {
  Step step = Step::lost;
  int error_number = 0;
};

/// In the child: only calls to the kernel.
Report try_namespaces() {
  if (::unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWCGROUP) != 0)
    return {Step::namespaces, errno};
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return {Step::private_mounts, errno};
  const pid_t inner = ::fork();
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
  return ::fstatat(upper, "file", &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(info.st_mode) &&
         info.st_rdev == makedev(0, 0);
}

/// Deletes a file and replaces a directory through an overlay, and looks for the marks.
ProbeFailure try_overlay(int dir, oci::OverlayFlavour flavour) {
  for (const char* name : {"lower", "upper", "work"}) ensure_dir_at(dir, name, 0755);
  const UniqueFd lower = open_at(dir, "lower", O_RDONLY | O_DIRECTORY),
                 upper = open_at(dir, "upper", O_RDONLY | O_DIRECTORY),
                 work = open_at(dir, "work", O_RDONLY | O_DIRECTORY);
  open_at(lower.get(), "file", O_WRONLY | O_CREAT, 0644);
  ensure_dir_at(lower.get(), "dir", 0755);
  const UniqueFd merged = mount_overlay({{lower.get()}, upper.get(), work.get()}, flavour);
  if (::unlinkat(merged.get(), "file", 0) != 0) return {"delete a file in an overlay", errno};
  if (::unlinkat(merged.get(), "dir", AT_REMOVEDIR) != 0) return {"delete a directory in an overlay", errno};
  if (::mkdirat(merged.get(), "dir", 0755) != 0) return {"replace a directory in an overlay", errno};
  if (!has_whiteout(upper.get())) return {"record a deletion in an overlay", 0};
  if (const auto wrong = wrong_overlay_option(merged.get(), flavour); !wrong.empty())
    return {cat("mount an overlay with the options layers need: ", wrong), 0};
  return {};
}

}  // namespace

std::string TierReport::name() const {
  switch (tier) {
    case Tier::root:
      return "T0";
    case Tier::user_namespace:
      return "T1";
    case Tier::none:
      break;
  }
  return "none";
}

ProbeFailure probe_namespaces() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {"create a pipe", errno};
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return {"start a process", errno};
  if (child == 0) {
    const Report report = try_namespaces();
    static_cast<void>(::write(write_end.get(), &report, sizeof report) == 0);
    ::_exit(0);
  }
  write_end.reset();
  Report report;
  if (::read(read_end.get(), &report, sizeof report) != static_cast<ssize_t>(sizeof report))
    report = {Step::lost, EIO};
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return {std::string(step_text(report.step)), report.error_number};
}

ProbeFailure probe_overlay(const StoreDir& store, oci::OverlayFlavour flavour) {
  try {
    const TempDir dir = store.make_work_dir();
    return try_overlay(dir.fd(), flavour);
  } catch (const SystemError& error) {
    std::string what = error.message();
    for (const auto& note : error.notes()) what += cat(" (", note, ")");
    return {std::move(what), error.error_number()};
  }
}

std::vector<std::string> advice_for(const ProbeFailure& failure, bool is_root) {
  std::vector<std::string> out;
  if (failure.what == step_text(Step::proc)) {
    out.push_back(
        "/proc is partly hidden here, as in a container: docker run --security-opt systempaths=unconfined");
  } else if (failure.what == step_text(Step::namespaces) || failure.what == step_text(Step::private_mounts)) {
    if (is_root) {
      out.push_back(
          "in a container: docker run --privileged, or --security-opt seccomp=unconfined --security-opt "
          "apparmor=unconfined");
    } else {
      out.push_back(
          "on Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile that "
          "allows userns");
      out.push_back("sysctl user.max_user_namespaces must not be 0");
    }
  } else {
    out.push_back(
        "put the store on ext4, xfs, btrfs or tmpfs with --root: overlays do not work on overlays or network "
        "file systems");
  }
  return out;
}

}  // namespace imgbuild::builder
