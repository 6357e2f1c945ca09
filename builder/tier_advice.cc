#include "builder/tier_advice.h"

#include "base/strings.h"

namespace imgbuild::builder {

namespace {

using Cause = Blocker::Cause;

std::string name_of(const MachineFacts& facts) { return facts.user.empty() ? cat(facts.uid) : facts.user; }

Advice docker_unconfined() {
  return {"in Docker",
          "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
          "--security-opt systempaths=unconfined -v imgbuild:/var/lib/imgbuild …"};
}
Advice docker_privileged() { return {"in Docker, with all rights", "docker run --privileged …"}; }
Advice kubernetes_pod() {
  return {"in Kubernetes",
          "spec:\n"
          "  hostUsers: false\n"
          "  containers:\n"
          "  - name: build\n"
          "    securityContext:\n"
          "      runAsUser: 0    # of the pod's own user namespace\n"
          "      procMount: Unmasked\n"
          "      allowPrivilegeEscalation: true\n"
          "      seccompProfile: {type: Unconfined}\n"
          "    volumeMounts:\n"
          "    - {name: store, mountPath: /var/lib/imgbuild}\n"
          "  volumes:\n"
          "  - {name: store, emptyDir: {}}"};
}

std::vector<Advice> container_advice(const MachineFacts& facts) {
  if (facts.container == "kubernetes") return {kubernetes_pod()};
  if (facts.container == "docker" || facts.container == "podman")
    return {docker_unconfined(), docker_privileged()};
  return {docker_unconfined(), kubernetes_pod()};
}

/// Who forbids user namespaces: a setting says so, or the filter of a container.
std::vector<Advice> user_namespace_advice(const MachineFacts& facts) {
  std::vector<Advice> out;
  if (facts.max_user_namespaces == "0")
    out.push_back({"user namespaces are switched off", "sysctl -w user.max_user_namespaces=15000"});
  if (facts.unprivileged_userns_clone == "0")
    out.push_back({"user namespaces are for root only", "sysctl -w kernel.unprivileged_userns_clone=1"});
  if (facts.apparmor_restrict_userns == "1") {
    out.push_back({"AppArmor keeps user namespaces from programs it does not know: /etc/apparmor.d/imgbuild",
                   "abi <abi/4.0>,\n"
                   "include <tunables/global>\n"
                   "profile imgbuild /usr/bin/imgbuild flags=(unconfined) {\n"
                   "  userns,\n"
                   "}"});
    out.push_back({"or, for all programs", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"});
  }
  if (!facts.container.empty() || (facts.seccomp && out.empty())) {
    for (auto& advice : container_advice(facts)) out.push_back(std::move(advice));
  }
  if (out.empty())
    out.push_back({"check the settings",
                   "sysctl user.max_user_namespaces kernel.apparmor_restrict_unprivileged_userns"});
  return out;
}

}  // namespace

std::vector<Advice> advice_for(const Blocker& blocker, const MachineFacts& facts) {
  switch (blocker.cause) {
    case Cause::not_root:
      return {};  // an ordinary user is what most want to be
    case Cause::no_admin_right:
      return facts.container == "kubernetes" ? std::vector{kubernetes_pod()}
                                             : std::vector{docker_privileged()};
    case Cause::not_first_namespace:
      return {};
    case Cause::user_namespace:
      return user_namespace_advice(facts);
    case Cause::no_subordinate_ids: {
      if (facts.user.empty())
        return {
            {"subordinate ids", cat("echo ", facts.uid, ":100000:65536 | tee -a /etc/subuid /etc/subgid")}};
      return {{"subordinate ids", cat("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ",
                                      printable(name_of(facts)))}};
    }
    case Cause::no_map_helper:
      return {{"the helpers", "apt-get install uidmap    # elsewhere: shadow-utils"}};
    case Cause::no_new_privs:
      if (facts.container == "kubernetes") return {kubernetes_pod()};
      return {{"start imgbuild without no_new_privs",
               "Docker: no --security-opt no-new-privileges; Kubernetes: allowPrivilegeEscalation: true"}};
    case Cause::map_failed:
      return {{"newuidmap must be setuid root on a mount without nosuid",
               "chmod u+s /usr/bin/newuidmap /usr/bin/newgidmap"}};
    case Cause::namespaces:
    case Cause::private_mounts:
      // Ubuntu's AppArmor lets a user namespace be made and takes away what it is good for.
      return user_namespace_advice(facts);
    case Cause::proc: {
      std::vector<Advice> out = {
          {"show the whole of /proc: in Docker", "docker run --security-opt systempaths=unconfined …"}};
      if (facts.container == "kubernetes") out = {kubernetes_pod()};
      out.push_back(
          {"or let commands see the processes around them", "imgbuild build --no-process-sandbox …"});
      return out;
    }
    case Cause::processes:
      return {{"more processes", "ulimit -u; docker run --pids-limit"}};
    case Cause::chroot_right:
      return {{"in Docker", cat("docker run --cap-add ", blocker.detail, " …")}};
    case Cause::devices:
      return {
          {"put the store where devices work, on a volume of its own", "imgbuild build --root DIRECTORY …"}};
    case Cause::not_wanted:
      return {};
  }
  return {};
}

Advice overlay_advice(const std::string& place) {
  return {
      "put the store on ext4, xfs, btrfs or tmpfs: overlays do not work on overlays or network file systems",
      cat("imgbuild build --root ",
          place.empty() ? "DIRECTORY" : cat(place == "/" ? "" : printable(place), "/imgbuild"), " …")};
}

Advice fuse_advice() {
  return {
      "install fuse-overlayfs, and let who runs imgbuild open /dev/fuse (in a container: --device "
      "/dev/fuse)",
      "apt-get install fuse-overlayfs"};
}

std::string one_line(const Advice& advice) {
  if (advice.snippet.find('\n') == std::string::npos) return cat(advice.title, ": ", advice.snippet);
  return cat(advice.title, ": see imgbuild doctor");
}

std::string tier_meaning(Tier tier) {
  switch (tier) {
    case Tier::root:
      return "root with all rights: namespaces, overlay, filter";
    case Tier::user_namespace:
      return "root of a user namespace with many ids: the same, without rights outside";
    case Tier::single_id:
      return "root of a user namespace with one id: the same, but files cannot change their owner in RUN";
    case Tier::chroot:
      return "root without namespaces: another root directory and fewer rights, no boundary against hostile "
             "commands";
    case Tier::none:
      return "no RUN; FROM, COPY, ADD and metadata work";
  }
  return {};
}

}  // namespace imgbuild::builder
