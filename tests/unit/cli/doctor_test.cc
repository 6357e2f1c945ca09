// What doctor says about machines that are only made up; IMGBUILD_ACCEPT=1 rewrites the expected texts.
#include <doctest/doctest.h>
#include <fcntl.h>

#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/unique_fd.h"
#include "builder/tier_advice.h"
#include "builder/user_namespace.h"
#include "cli/render_doctor.h"
#include "tests/support/test_data.h"

using namespace imgbuild;
using namespace imgbuild::builder;
using Cause = Blocker::Cause;

namespace {

cli::DoctorReport machine(Tier tier, std::vector<Blocker> blockers) {
  cli::DoctorReport report;
  report.facts.kernel = "6.1.0-18-amd64";
  report.facts.security = "lockdown,capability,yama,apparmor";
  report.facts.cgroup = "version 2, may limit: cpu memory pids";
  report.facts.store_path = "/var/lib/imgbuild";
  report.facts.store_file_system = "ext4";
  report.support.tier = tier;
  report.support.blockers = std::move(blockers);
  report.support.snapshotter = tier == Tier::none ? "" : tier == Tier::chroot ? "copy" : "overlay";
  if (tier != Tier::none) report.launch = std::chrono::microseconds(1234);
  return report;
}

void check_golden(const std::string& name, const cli::DoctorReport& report) {
  const std::string text = cli::render_doctor(report);
  const std::string file = "doctor/" + name + ".txt";
  if (const char* accept = std::getenv("IMGBUILD_ACCEPT"); accept != nullptr && std::string(accept) == "1")
    write_all(open_path(tests::test_data_path(file), O_WRONLY | O_CREAT | O_TRUNC, 0644).get(), text, file);
  CHECK(text == tests::read_test_data(file));
}

}  // namespace

TEST_CASE("doctor has nothing to say to root on a host") {
  auto report = machine(Tier::root, {});
  report.support.apparmor.reason = "the AppArmor profile imgbuild-default is not loaded";
  check_golden("root", report);
}

TEST_CASE("doctor names the missing subordinate ids") {
  auto report = machine(Tier::single_id, {{Tier::root, Cause::not_root, 0, ""},
                                          {Tier::user_namespace, Cause::no_subordinate_ids, 0, "/etc/subuid"},
                                          {Tier::user_namespace, Cause::no_map_helper, 0, ""}});
  report.facts.uid = 1000;
  report.facts.user = "mary";
  check_golden("no-subordinate-ids", report);
}

TEST_CASE("doctor knows the switch of Ubuntu") {
  auto report = machine(Tier::none, {{Tier::root, Cause::not_root, 0, ""},
                                     {Tier::user_namespace, Cause::private_mounts, EPERM, ""},
                                     {Tier::single_id, Cause::user_namespace, EPERM, ""},
                                     {Tier::chroot, Cause::not_root, 0, ""}});
  report.facts.uid = 1000;
  report.facts.apparmor_restrict_userns = "1";
  check_golden("ubuntu", report);
}

TEST_CASE("doctor tells root in Docker how to start the container") {
  auto report = machine(Tier::chroot, {{Tier::root, Cause::no_admin_right, 0, ""},
                                       {Tier::user_namespace, Cause::user_namespace, EPERM, ""}});
  report.facts.container = "docker";
  report.facts.seccomp = true;
  check_golden("docker-root", report);
}

TEST_CASE("doctor writes the pod for Kubernetes") {
  auto report = machine(Tier::none, {{Tier::root, Cause::not_root, 0, ""},
                                     {Tier::user_namespace, Cause::no_subordinate_ids, 0, "/etc/subuid"},
                                     {Tier::user_namespace, Cause::no_new_privs, 0, ""},
                                     {Tier::single_id, Cause::user_namespace, EPERM, ""},
                                     {Tier::chroot, Cause::not_root, 0, ""}});
  report.facts.uid = 1000;
  report.facts.container = "kubernetes";
  report.facts.seccomp = report.facts.no_new_privs = true;
  check_golden("kubernetes", report);
}

TEST_CASE("doctor says where overlays would work") {
  auto report = machine(Tier::root, {});
  report.support.snapshotter = "copy";
  report.support.snapshotter_reason = "mount overlay: not supported as upperdir";
  report.support.overlay_failed = true;
  report.support.better_place = "/data";
  report.support.fuse_reason = "the program fuse-overlayfs is not installed";
  report.facts.store_file_system = "overlay";
  report.support.apparmor.attribute = "attr/apparmor/exec";
  check_golden("store-on-overlay", report);
}

TEST_CASE("doctor writes the same for machines") {
  auto report = machine(Tier::chroot, {{Tier::root, Cause::no_admin_right, 0, ""},
                                       {Tier::user_namespace, Cause::user_namespace, EPERM, ""}});
  const auto json = nlohmann::json::parse(cli::render_doctor_json(report));
  CHECK(json["tier"] == "T3");
  CHECK(json["ladder"].size() == 5);
  CHECK(json["ladder"][1]["blocked_by"][0]["errno"] == EPERM);
  CHECK(json["ladder"][3]["chosen"] == true);
  CHECK(json["launch_ns"] == 1'234'000);
  CHECK(json["fuse_overlayfs"]["available"] == true);
}

TEST_CASE("doctor says whether fuse-overlayfs is there, and believes a try more than a look") {
  auto report = machine(Tier::root, {});
  report.fuse = "open /dev/fuse: permission denied";
  auto json = nlohmann::json::parse(cli::render_doctor_json(report));
  CHECK(json["fuse_overlayfs"]["available"] == false);
  CHECK(json["fuse_overlayfs"]["reason"] == "open /dev/fuse: permission denied");
  report.support.fuse_reason = "record a deletion in an overlay";
  json = nlohmann::json::parse(cli::render_doctor_json(report));
  CHECK(json["fuse_overlayfs"]["reason"] == "record a deletion in an overlay");
  report.support.snapshotter = "fuse-overlayfs";
  report.support.fuse_reason.clear();
  json = nlohmann::json::parse(cli::render_doctor_json(report));
  CHECK(json["fuse_overlayfs"]["available"] == true);
}

TEST_CASE("every reason has words, and hostile names stay harmless") {
  for (int cause = 0; cause <= static_cast<int>(Cause::not_wanted); ++cause)
    CHECK_FALSE(Blocker{Tier::root, static_cast<Cause>(cause), EPERM, "x"}.text().empty());
  MachineFacts facts;
  facts.user = "a\x1b[31m";
  const auto advice = advice_for({Tier::user_namespace, Cause::no_subordinate_ids, 0, "/etc/subuid"}, facts);
  REQUIRE(advice.size() == 1);
  CHECK(advice[0].snippet.find('\x1b') == std::string::npos);
}

TEST_CASE("the map of a nested namespace has the ids of this one") {
  CHECK(identity_map("         0          0 4294967295\n") == "0 0 4294967295\n");
  CHECK(identity_map("0 1000 1\n1 100000 65536\n") == "0 0 1\n1 1 65536\n");
}
