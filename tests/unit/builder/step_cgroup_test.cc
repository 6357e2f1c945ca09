#include "builder/step_cgroup.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strings.h"
#include "tests/support/fake_cgroup_files.h"

using namespace imgbuild;
using namespace imgbuild::builder;
using imgbuild::tests::FakeCgroupFiles;

namespace {

const std::string kTop = "/sys/fs/cgroup";
const ResourceLimits kLimits{.memory_bytes = 64 << 20, .pids = 200};

CgroupPaths at(const std::string& own) {
  CgroupPaths paths;
  paths.unified = CgroupPlace{own, kTop};
  return paths;
}

std::string self() { return cat(::getpid()); }

/// Everything is as before once the builder is gone.
void check_left(const FakeCgroupFiles& files, const std::string& own, std::size_t groups) {
  CHECK(files.groups.size() == groups);
  CHECK(files.groups.at(own).processes.contains(self()));
  CHECK(files.groups.at(own).handed_on.empty());
}

}  // namespace

TEST_CASE("alone in a delegated group the builder steps aside and limits its commands (SBX-101)") {
  FakeCgroupFiles files(kTop, {"cpu", "memory", "pids"}, true);
  files.groups[kTop].handed_on = {"cpu", "memory", "pids"};
  const std::string own = kTop + "/app.scope";
  files.add(own).processes = {self()};
  {
    Cgroups groups(files, at(own));
    const auto first = groups.make(kLimits), second = groups.make(kLimits);
    REQUIRE(first.directories().size() == 1);
    const std::string directory = first.directories()[0];
    CHECK(directory.starts_with(own + "/imgbuild-"));
    CHECK(files.groups.at(directory).files.at("memory.max") == "67108864");
    CHECK(files.groups.at(directory).files.at("memory.swap.max") == "67108864");
    CHECK(files.groups.at(directory).files.at("pids.max") == "200");
    CHECK(files.groups.at(own).handed_on == std::set<std::string>{"memory", "pids"});
    CHECK(files.groups.at(own).processes.empty());
    CHECK(first.joins().size() == 1);
    CHECK(first.unified() != nullptr);
    CHECK(first.directories() != second.directories());
  }
  check_left(files, own, 2);
}

TEST_CASE("a group with other processes in it is passed over for one above that hands the controllers on") {
  FakeCgroupFiles files(kTop, {"memory", "pids"}, true);
  files.groups[kTop].handed_on = {"memory", "pids"};
  const std::string slice = kTop + "/user.slice", own = slice + "/session-1.scope";
  files.add(slice).handed_on = {"memory", "pids"};
  files.add(own).processes = {self(), "1"};
  Cgroups groups(files, at(own));
  SUBCASE("the nearest is taken, and nothing else is changed") {
    const auto group = groups.make(kLimits);
    CHECK(group.directories().at(0).starts_with(slice + "/imgbuild-"));
    CHECK(files.groups.at(own).processes.size() == 2);
    CHECK(files.groups.at(own).handed_on.empty());
  }
  SUBCASE("nobody escapes the limit of the group it is in") {
    files.groups.at(own).files["memory.max"] = "1000000";
    CHECK_THROWS_WITH_AS(groups.make(kLimits), doctest::Contains("which is limited itself"),
                         UnsupportedError);
    CHECK(files.groups.size() == 3);
  }
  SUBCASE("one that belongs to somebody else is none") {
    files.groups.at(slice).writable = false;
    files.groups.at(kTop).writable = false;
    CHECK_THROWS_WITH_AS(groups.make(kLimits),
                         doctest::Contains("--memory cannot be applied: other processes are in"),
                         UnsupportedError);
  }
}

TEST_CASE("what is missing is said with the way to get it (SBX-103)") {
  FakeCgroupFiles files(kTop, {}, false);
  files.groups[kTop].processes = {self()};
  Cgroups groups(files, at(kTop));
  try {
    groups.make(kLimits);
    FAIL("limits were accepted without controllers");
  } catch (const UnsupportedError& error) {
    CHECK(error.message() ==
          "--memory cannot be applied: the group /sys/fs/cgroup is not given the controller memory, pids");
    REQUIRE_FALSE(error.notes().empty());
    CHECK(error.notes().back().find("Delegate=") != std::string::npos);
  }
  CHECK_THROWS_WITH_AS(Cgroups(files, {}).make({.pids = 3}), doctest::Contains("--pids-limit"),
                       UnsupportedError);
  CHECK(files.groups.size() == 1);
}

TEST_CASE("a kernel that does not count swap is an error only for who asked for it") {
  FakeCgroupFiles files(kTop, {"memory"}, true);
  files.groups[kTop].handed_on = {"memory"};
  struct NoSwap final : CgroupFiles {
    explicit NoSwap(FakeCgroupFiles& inner_files) : inner(inner_files) {}
    int make_dir(const std::string& p) override { return inner.make_dir(p); }
    int remove_dir(const std::string& p) override { return inner.remove_dir(p); }
    int write(const std::string& p, const std::string& v) override {
      return p.ends_with("swap.max") ? ENOENT : inner.write(p, v);
    }
    std::optional<std::string> read(const std::string& p) override { return inner.read(p); }
    std::vector<std::string> sub_dirs(const std::string& p) override { return inner.sub_dirs(p); }
    UniqueFd open(const std::string& p, int f) override { return inner.open(p, f); }
    bool is_writable(const std::string& p) override { return inner.is_writable(p); }
    FakeCgroupFiles& inner;
  } without_swap(files);
  Cgroups groups(without_swap, at(kTop));
  CHECK(groups.make({.memory_bytes = 64 << 20}).directories().size() == 1);
  CHECK_THROWS_WITH_AS(groups.make({.memory_bytes = 64 << 20, .memory_swap_bytes = 64 << 20}),
                       doctest::Contains("--memory-swap cannot be applied"), UnsupportedError);
  CHECK(files.groups.size() == 1);
}

TEST_CASE("the counts of a command are read from its group") {
  FakeCgroupFiles files(kTop, {"memory", "pids"}, true);
  files.groups[kTop].handed_on = {"memory", "pids"};
  Cgroups groups(files, at(kTop));
  const auto group = groups.make(kLimits);
  auto& counted = files.groups.at(group.directories().at(0)).files;
  CHECK(group.counts().oom_kills == 0);
  CHECK_FALSE(group.counts().peak_memory_bytes);
  counted["memory.events"] = "low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 1\n";
  counted["memory.peak"] = "67108864\n";
  counted["pids.events"] = "max 7\n";
  counted["cpu.stat"] = "usage_usec 1500\nuser_usec 1000\n";
  const auto counts = group.counts();
  CHECK(counts.oom_kills == 1);
  CHECK(counts.refused_processes == 7);
  CHECK(counts.peak_memory_bytes == 64u << 20);
  CHECK(counts.cpu_time == std::chrono::microseconds(1500));
  counted["memory.events"] = "oom_kill\noom_kill x\n";
  CHECK(group.counts().oom_kills == 0);
}

TEST_CASE("groups that builders left are swept when empty, others are not touched (SBX-104)") {
  FakeCgroupFiles files(kTop, {"pids"}, true);
  files.groups[kTop].handed_on = {"pids"};
  files.add(kTop + "/imgbuild-dead-1");
  files.add(kTop + "/imgbuild-busy-1").processes = {"17"};
  files.add(kTop + "/docker");
  Cgroups groups(files, at(kTop));
  const auto group = groups.make({.pids = 3});
  CHECK_FALSE(files.groups.contains(kTop + "/imgbuild-dead-1"));
  CHECK(files.groups.contains(kTop + "/imgbuild-busy-1"));
  CHECK(files.groups.contains(kTop + "/docker"));
}
