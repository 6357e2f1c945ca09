#include "builder/apparmor.h"

#include <doctest/doctest.h>
#include <fcntl.h>

#include "base/strings.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"

using namespace imgbuild;
using namespace imgbuild::builder;

namespace {

const std::string kLoaded = "docker-default (enforce)\nimgbuild-default (enforce)\n/usr/bin/man (enforce)\n";

void put(int root, const std::string& path, const std::string& text) {
  for (auto slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
    ensure_dir_at(root, path.substr(0, slash), 0755);
  write_all(open_at(root, path, O_WRONLY | O_CREAT | O_TRUNC, 0644).get(), text);
}

}  // namespace

TEST_CASE("commands are put under the profile where it is loaded and we are root (SBX-98)") {
  CHECK(choose_apparmor({"Y\n", kLoaded, true, true}).attribute == "attr/apparmor/exec");
  CHECK(choose_apparmor({"Y\n", kLoaded, true, false}).attribute == "attr/exec");
}

TEST_CASE("without a loaded profile, or as an ordinary user, there is none and it is said why (SBX-98)") {
  const auto reason = [](const AppArmorFacts& facts) {
    const auto choice = choose_apparmor(facts);
    CHECK(choice.attribute == "");
    return choice.reason;
  };
  CHECK(reason({"", "", true, true}) == "AppArmor is not enabled");
  CHECK(reason({"N\n", kLoaded, true, true}) == "AppArmor is not enabled");
  CHECK(reason({"Y\n", kLoaded, false, true}).find("only root") == 0);
  const std::string missing = "the AppArmor profile imgbuild-default is not loaded";
  CHECK(reason({"Y\n", "", true, true}) == missing);
  CHECK(reason({"Y\n", "imgbuild-default-2 (enforce)\nx imgbuild-default (enforce)\n", true, true}) ==
        missing);
  CHECK(reason({"Y\n", "imgbuild-default (unconfined)\n", true, true}) == missing);
  CHECK(reason({"Y\n", "imgbuild-default\n", true, true}) == missing);
}

TEST_CASE("the facts are read from the files of the machine") {
  const TempDir dir = TempDir::create(std::string("/tmp"), "apparmor-");
  const std::string root = cat("/proc/self/fd/", dir.fd());
  CHECK(read_apparmor_facts(root, true).enabled == "");
  put(dir.fd(), "sys/module/apparmor/parameters/enabled", "Y\n");
  put(dir.fd(), "sys/kernel/security/apparmor/profiles", kLoaded);
  CHECK(choose_apparmor(read_apparmor_facts(root, true)).attribute == "attr/exec");
  put(dir.fd(), "proc/self/attr/apparmor/exec", "");
  CHECK(choose_apparmor(read_apparmor_facts(root, true)).attribute == "attr/apparmor/exec");
  CHECK(choose_apparmor(read_apparmor_facts(root, false)).attribute == "");
}
