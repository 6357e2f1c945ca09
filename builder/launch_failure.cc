#include "builder/launch_failure.h"

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

using launch::Stage;

std::string_view stage_name(Stage stage) {
  switch (stage) {
    case Stage::none:
      break;
    case Stage::receive:
      return "connect";
    case Stage::clone:
      return "create namespaces for";
    case Stage::propagation:
      return "make mounts private below";
    case Stage::attach_root:
      return "attach the root file system at";
    case Stage::proc:
      return "mount";
    case Stage::sys:
      return "mount";
    case Stage::dev:
      return "set up /dev:";
    case Stage::dev_pts:
      return "mount devpts at /dev/";
    case Stage::dev_shm:
      return "mount tmpfs at /dev/";
    case Stage::device:
      return "make /dev/";
    case Stage::context:
      return "attach the sandbox's own files";
    case Stage::mount_target:
      return "find the mount point";
    case Stage::mount:
      return "mount at";
    case Stage::pivot_root:
      return "change the root to";
    case Stage::change_root:
      return "change (chroot) the root to";
    case Stage::detach_old_root:
      return "detach the old root from";
    case Stage::read_only_paths:
      return "make read-only: /proc/";
    case Stage::mask_paths:
      return "cover";
    case Stage::hostname:
      return "set the host name";
    case Stage::network:
      return "bring up the network device";
    case Stage::join_network:
      return "enter the network namespace";
    case Stage::session:
      return "start a session";
    case Stage::seccomp:
      return "load the system call filter";
    case Stage::capabilities:
      return "set capabilities";
    case Stage::limits:
      return "set the limit";
    case Stage::identity:
      return "change to the step's";
    case Stage::working_dir:
      return "enter the working directory";
    case Stage::working_dir_outside:
      return "enter the working directory";
    case Stage::execute:
      return "execute";
    case Stage::launcher_gone:
      return "reach the launcher";
    case Stage::cgroup:
      return "join the control group of the step:";
    case Stage::label:
      return "put the command under the AppArmor profile";
  }
  return "set up the sandbox";
}

}  // namespace

int explain_failure(const launch::Failure& failure, const SandboxSpec& spec,
                    const std::function<void(int stream, std::string_view)>& output) {
  if (failure.stage == Stage::execute) {
    const bool missing = failure.error_number == ENOENT;
    const bool searched = spec.argv.front().find('/') == std::string::npos;
    const std::string name = printable(spec.argv.front());
    const std::string_view path = failure.path;
    if (missing && searched && path == spec.argv.front())
      output(2, cat("exec: \"", name, "\": executable file not found in $PATH\n"));
    else
      output(2, cat("exec ", printable(path), ": ", to_lower(std::strerror(failure.error_number)), "\n"));
    return missing ? 127 : 126;
  }
  if (failure.stage == Stage::working_dir_outside)
    throw Error(cat("working directory ", printable(failure.path), " is outside of the root file system"));
  SystemError error(failure.error_number, stage_name(failure.stage), printable(failure.path));
  if (failure.stage == Stage::proc && failure.error_number == EPERM)
    error.add_note(
        "/proc is partly hidden here, as in containers; Docker: --security-opt systempaths=unconfined");
  if (failure.stage == Stage::join_network && failure.error_number == EPERM)
    error.add_note("it belongs to another user namespace: only root outside of user namespaces may enter it");
  if (failure.stage == Stage::limits && failure.error_number == EPERM)
    error.add_note(
        "only root outside of user namespaces may raise a limit above the one imgbuild was started with");
  if (failure.stage == Stage::seccomp)
    error.add_note("without a filter commands run only with --security-opt seccomp=unconfined");
  if (failure.stage == Stage::identity && failure.error_number == EINVAL)
    error.add_note(cat("user ", spec.uid, " or group ", spec.gid,
                       " is beyond the ids of this user namespace: see /etc/subuid"));
  throw error;
}

}  // namespace imgbuild::builder
