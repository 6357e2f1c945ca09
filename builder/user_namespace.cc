#include "builder/user_namespace.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"

namespace imgbuild::builder {

namespace {

std::string read_text(const char* path) {
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
  std::string text;
  char bytes[4096];
  for (ssize_t size = 0;
       file && text.size() < (1u << 20) && (size = ::read(file.get(), bytes, sizeof bytes)) > 0;)
    text.append(bytes, static_cast<std::size_t>(size));
  return text;
}

bool has_admin_right() {
  __user_cap_header_struct header{};
  header.version = _LINUX_CAPABILITY_VERSION_3;
  __user_cap_data_struct data[2]{};
  return ::syscall(SYS_capget, &header, data) == 0 && (data[0].effective & (1u << CAP_SYS_ADMIN)) != 0;
}

/// An identity map alone proves nothing, but the first namespace has a fixed inode (RLS-5).
bool in_first_namespace() {
  char link[64] = {};
  return ::readlink("/proc/self/ns/user", link, sizeof link - 1) > 0 &&
         std::strcmp(link, "user:[4026531837]") == 0;
}

TierReport refuse(std::string why, std::vector<std::string> advice) {
  TierReport report;
  report.refusal = std::move(why);
  report.advice = std::move(advice);
  return report;
}

/// Whether commands can really be isolated is only found out when there is one to run (LazyRunSupport).
TierReport entered(Tier tier, oci::OverlayFlavour flavour, std::string why_not_better) {
  TierReport report;
  report.tier = tier;
  report.flavour = flavour;
  report.refusal = std::move(why_not_better);
  return report;
}

/// What has to be known before the namespace changes.
struct Plan {
  uid_t uid = ::geteuid();
  gid_t gid = ::getegid();
  IdRange uids, gids;
  const char* newuidmap = nullptr;
  const char* newgidmap = nullptr;
};

/// The helpers, by absolute path: never from PATH.
const char* find_helper(const char* usual, const char* other) {
  if (::access(usual, X_OK) == 0) return usual;
  return ::access(other, X_OK) == 0 ? other : nullptr;
}

/// Runs a map helper in the child and waits. Returns its exit code, 127 when it could not be started.
int run_helper(const char* program, pid_t target, std::uint32_t own, const IdRange& range) {
  const std::string pid = cat(target), own_text = cat(own), first = cat(range.first),
                    count = cat(range.count);
  const char* argv[] = {program, pid.c_str(),   "0",           own_text.c_str(), "1",
                        "1",     first.c_str(), count.c_str(), nullptr};
  char* env[] = {nullptr};
  const pid_t child = ::fork();
  if (child == 0) {
    ::execve(program, const_cast<char**>(argv), env);
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return child > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 127;
}

/// Stays in the old namespace, where the ids are the user's, and writes the maps of its parent. 0 on success.
int map_ids_of_parent(const Plan& plan, int ready) {
  char go = 0;
  if (::read(ready, &go, 1) != 1) return 1;
  const pid_t parent = ::getppid();
  if (run_helper(plan.newuidmap, parent, plan.uid, plan.uids) != 0) return 2;
  return run_helper(plan.newgidmap, parent, plan.gid, plan.gids) == 0 ? 0 : 3;
}

std::vector<std::string> userns_advice() { return advice_for({"create namespaces", EPERM}, false); }

TierReport enter(const Plan& plan) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return refuse("cannot create a pipe", {});
  UniqueFd ready(ends[0]), go(ends[1]);
  const pid_t helper = ::fork();
  if (helper < 0) return refuse("cannot start a process", {});
  if (helper == 0) {
    go.reset();
    ::_exit(map_ids_of_parent(plan, ready.get()));
  }
  ready.reset();
  const bool unshared = ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
  const int error_number = errno;
  if (unshared) static_cast<void>(::write(go.get(), "x", 1) == 1);
  go.reset();
  int status = 0;
  while (::waitpid(helper, &status, 0) < 0 && errno == EINTR) {
  }
  if (!unshared)
    return refuse(cat("user namespaces cannot be created: ", to_lower(std::strerror(error_number))),
                  userns_advice());
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return refuse(
        cat(WEXITSTATUS(status) == 3 ? plan.newgidmap : plan.newuidmap, " failed"),
        {"it must be setuid root on a mount without nosuid, and the process without no_new_privs",
         "in Kubernetes: allowPrivilegeEscalation: true, or pod user namespaces (hostUsers: false)"});
  }
  if (::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0 || ::setgroups(0, nullptr) != 0)
    return refuse(cat("cannot become root of the user namespace: ", to_lower(std::strerror(errno))),
                  userns_advice());
  ::prctl(PR_SET_DUMPABLE, 1);  // the change of ids closed our own /proc entries to us
  return entered(Tier::user_namespace, oci::OverlayFlavour::user, "not started as root");
}

TierReport enter_as_user() {
  Plan plan;
  const passwd* entry = ::getpwuid(plan.uid);
  const std::string user_name = entry != nullptr ? entry->pw_name : "";
  const std::string shown = user_name.empty() ? cat(plan.uid) : user_name;
  const auto uids = find_id_range(read_text("/etc/subuid"), user_name, plan.uid);
  const auto gids = find_id_range(read_text("/etc/subgid"), user_name, plan.uid);
  if (!uids || !gids) {
    return refuse(
        cat("user ", printable(shown), " has no subordinate ids in /etc/", uids ? "subgid" : "subuid"),
        {cat("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ", printable(shown))});
  }
  plan.uids = *uids;
  plan.gids = *gids;
  plan.newuidmap = find_helper("/usr/bin/newuidmap", "/bin/newuidmap");
  plan.newgidmap = find_helper("/usr/bin/newgidmap", "/bin/newgidmap");
  if (plan.newuidmap == nullptr || plan.newgidmap == nullptr)
    return refuse("newuidmap and newgidmap are missing", {"install the package uidmap (or shadow-utils)"});
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) {
    return refuse(
        "the process may not gain privileges (no_new_privs), so newuidmap cannot work",
        {"in Kubernetes: allowPrivilegeEscalation: true; Docker: without --security-opt no-new-privileges"});
  }
  return enter(plan);
}

}  // namespace

std::optional<IdRange> find_id_range(std::string_view text, std::string_view user_name, uid_t uid) {
  const std::string number = cat(uid);
  std::optional<IdRange> best;
  for (const auto line : split(text, '\n')) {
    const auto fields = split(line, ':');
    if (fields.size() != 3 || fields[0].empty() || (fields[0] != user_name && fields[0] != number)) continue;
    const auto first = parse_decimal(fields[1]), count = parse_decimal(trim(fields[2]));
    if (!first || !count || *count == 0 || *first + *count > 0xffffffffu) continue;
    if (!best || best->count < *count)
      best = IdRange{static_cast<std::uint32_t>(*first), static_cast<std::uint32_t>(*count)};
  }
  return best;
}

TierReport enter_user_namespace() noexcept {
  try {
    if (::geteuid() != 0) return enter_as_user();
    if (!has_admin_right()) {
      return refuse("root without the right to mount (CAP_SYS_ADMIN), as in a container",
                    {"docker run --privileged",
                     "or --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
                     "--security-opt systempaths=unconfined as an ordinary user with subordinate ids"});
    }
    if (in_first_namespace()) return entered(Tier::root, oci::OverlayFlavour::trusted, "");
    return entered(Tier::user_namespace, oci::OverlayFlavour::user, "root of a user namespace only");
  } catch (const std::exception& error) {
    return refuse(error.what(), {});
  }
}

}  // namespace imgbuild::builder
