#include "builder/user_namespace.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "builder/capabilities.h"

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

bool has_admin_right() { return has_capability(own_capabilities(), CAP_SYS_ADMIN); }

/// An identity map alone proves nothing, but the first namespace has a fixed inode (RLS-5).
bool in_first_namespace() {
  char link[64] = {};
  return ::readlink("/proc/self/ns/user", link, sizeof link - 1) > 0 &&
         std::strcmp(link, "user:[4026531837]") == 0;
}

using Cause = Blocker::Cause;

void block(TierReport& report, Tier tier, Cause cause, int error_number = 0, std::string detail = {}) {
  report.blockers.push_back({tier, cause, error_number, std::move(detail)});
}

/// Whether commands can really be isolated is only found out when there is one to run (LazyRunSupport).
void entered(TierReport& report, Tier tier, oci::OverlayFlavour flavour) {
  report.tier = tier;
  report.flavour = flavour;
}

/// What has to be known before the namespace changes.
struct Plan {
  uid_t uid = ::geteuid();
  gid_t gid = ::getegid();
  IdRange uids, gids;
  const char* newuidmap = nullptr;
  const char* newgidmap = nullptr;
  /// Written to the maps directly, by who may: root that has the ids itself.
  std::string uid_map, gid_map;
  bool use_helpers() const noexcept { return newuidmap != nullptr && newgidmap != nullptr; }
};

bool write_text(const std::string& path, std::string_view text) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

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
  if (!plan.use_helpers()) {
    if (!write_text(cat("/proc/", parent, "/uid_map"), plan.uid_map)) return 2;
    return write_text(cat("/proc/", parent, "/gid_map"), plan.gid_map) ? 0 : 3;
  }
  if (run_helper(plan.newuidmap, parent, plan.uid, plan.uids) != 0) return 2;
  return run_helper(plan.newgidmap, parent, plan.gid, plan.gids) == 0 ? 0 : 3;
}

enum class Entered { no, without_maps, yes };

/// Moves into a new user namespace. `without_maps`: it is there, but has no ids yet.
Entered enter(const Plan& plan, TierReport& report) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return block(report, Tier::user_namespace, Cause::processes, errno), Entered::no;
  UniqueFd ready(ends[0]), go(ends[1]);
  const pid_t helper = ::fork();
  if (helper < 0) return block(report, Tier::user_namespace, Cause::processes, errno), Entered::no;
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
  if (!unshared) {
    block(report, Tier::user_namespace, Cause::user_namespace, error_number);
    return Entered::no;
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return Entered::yes;
  const bool second = WEXITSTATUS(status) == 3;
  const std::string what = plan.use_helpers() ? (second ? plan.newgidmap : plan.newuidmap)
                                              : (second ? "writing gid_map" : "writing uid_map");
  block(report, Tier::user_namespace, Cause::map_failed, 0, what);
  return Entered::without_maps;
}

bool become_namespace_root(TierReport& report, Tier tier, bool with_groups) {
  if (::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0 ||
      (with_groups && ::setgroups(0, nullptr) != 0)) {
    block(report, tier, Cause::map_failed, errno, "becoming root of the user namespace");
    return false;
  }
  ::prctl(PR_SET_DUMPABLE, 1);  // the change of ids closed our own /proc entries to us
  return true;
}

/// One id is mapped without anybody's help; the groups have to be given up first (RLS-4).
void map_own_id(const Plan& plan, TierReport& report) {
  if (!write_text("/proc/self/setgroups", "deny") ||
      !write_text("/proc/self/uid_map", cat("0 ", plan.uid, " 1")) ||
      !write_text("/proc/self/gid_map", cat("0 ", plan.gid, " 1"))) {
    block(report, Tier::single_id, Cause::map_failed, errno, "mapping the own id");
    return;
  }
  if (become_namespace_root(report, Tier::single_id, false))
    entered(report, Tier::single_id, oci::OverlayFlavour::user);
}

/// What stands in the way of mapping many ids, if anything.
bool find_ids(Plan& plan, TierReport& report) {
  const passwd* entry = ::getpwuid(plan.uid);
  const std::string user_name = entry != nullptr ? entry->pw_name : "";
  const auto uids = find_id_range(read_text("/etc/subuid"), user_name, plan.uid);
  const auto gids = find_id_range(read_text("/etc/subgid"), user_name, plan.uid);
  const std::size_t before = report.blockers.size();
  if (!uids || !gids)
    block(report, Tier::user_namespace, Cause::no_subordinate_ids, 0, uids ? "/etc/subgid" : "/etc/subuid");
  plan.uids = uids.value_or(IdRange{});
  plan.gids = gids.value_or(IdRange{});
  plan.newuidmap = find_helper("/usr/bin/newuidmap", "/bin/newuidmap");
  plan.newgidmap = find_helper("/usr/bin/newgidmap", "/bin/newgidmap");
  if (!plan.use_helpers()) block(report, Tier::user_namespace, Cause::no_map_helper);
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) block(report, Tier::user_namespace, Cause::no_new_privs);
  return report.blockers.size() == before;
}

void enter_as_user(TierReport& report) {
  block(report, Tier::root, Cause::not_root);
  Plan plan;
  if (find_ids(plan, report)) {
    switch (enter(plan, report)) {
      case Entered::yes:
        if (become_namespace_root(report, Tier::user_namespace, true))
          entered(report, Tier::user_namespace, oci::OverlayFlavour::user);
        return;
      case Entered::without_maps:
        return map_own_id(plan, report);
      case Entered::no:
        return;
    }
  }
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
    return block(report, Tier::single_id, Cause::user_namespace, errno);
  map_own_id(plan, report);
}

/// Root that may not mount can be root of a user namespace of its own, if the container's filter lets it.
/// Tried in a child first: once inside, the lower tier cannot be had any more.
/// False when something was short, which is no reason for a lower tier.
bool enter_as_limited_root(TierReport& report, bool shared_processes) {
  block(report, Tier::root, Cause::no_admin_right);
  if (const auto failure = probe_namespaces({.new_user = true, .shared_processes = shared_processes});
      failure.failed()) {
    block(report, Tier::user_namespace, failure.cause, failure.error_number);
    return !is_passing(failure.error_number);
  }
  Plan plan;
  for (const auto& [map, text] :
       {std::pair("/proc/self/uid_map", &plan.uid_map), std::pair("/proc/self/gid_map", &plan.gid_map)})
    *text = identity_map(read_text(map));
  if (enter(plan, report) == Entered::yes && become_namespace_root(report, Tier::user_namespace, true))
    entered(report, Tier::user_namespace, oci::OverlayFlavour::user);
  return true;
}

bool has_one_id() {
  const auto words = split(trim(read_text("/proc/self/uid_map")), ' ');
  return !words.empty() && words.back() == "1";
}

}  // namespace

std::string identity_map(std::string_view map) {
  std::string out;
  for (const auto line : split(map, '\n')) {
    std::vector<std::string_view> numbers;
    for (const auto word : split(line, ' '))
      if (!word.empty()) numbers.push_back(word);
    if (numbers.size() == 3) out += cat(numbers[0], " ", numbers[0], " ", numbers[2], "\n");
  }
  return out;
}

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

TierReport enter_user_namespace(Isolation isolation, bool shared_processes) noexcept {
  TierReport report;
  try {
    if (isolation == Isolation::chroot) {
      for (const Tier tier : {Tier::root, Tier::user_namespace, Tier::single_id})
        block(report, tier, Cause::not_wanted, 0, "--isolation=chroot");
      report.tier = Tier::chroot;
    } else if (::geteuid() != 0) {
      enter_as_user(report);
    } else if (!has_admin_right()) {
      const bool lasting = enter_as_limited_root(report, shared_processes);
      if (lasting && report.tier == Tier::none && isolation == Isolation::automatic)
        report.tier = Tier::chroot;
    } else if (in_first_namespace()) {
      entered(report, Tier::root, oci::OverlayFlavour::trusted);
    } else {
      block(report, Tier::root, Cause::not_first_namespace);
      entered(report, has_one_id() ? Tier::single_id : Tier::user_namespace, oci::OverlayFlavour::user);
    }
    if (isolation == Isolation::full && report.tier == Tier::none)
      block(report, Tier::chroot, Cause::not_wanted, 0, "--isolation=full");
  } catch (const std::exception& error) {
    report.tier = Tier::none;
    block(report, Tier::chroot, Cause::processes, 0, error.what());
  }
  return report;
}

}  // namespace imgbuild::builder
