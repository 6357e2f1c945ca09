#include <doctest/doctest.h>

#include "builder/cgroup_paths.h"
#include "builder/cgroup_settings.h"
#include "builder/oom_watch.h"
#include "builder/step_cgroup.h"

using namespace imgbuild::builder;

namespace {

/// "controller file=value", one a setting.
std::vector<std::string> texts(const std::vector<CgroupSetting>& settings) {
  std::vector<std::string> out;
  for (const auto& s : settings)
    out.push_back(s.controller + " " + s.file + "=" + s.value + (s.optional ? " ?" : ""));
  return out;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("our groups are found in a mixed hierarchy (SBX-102)") {
  const auto paths = parse_cgroup_paths(
      "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
      "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
      "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
      "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
      "4:memory:/jobs/17\n2:cpu,cpuacct:/\n1:name=systemd:/user.slice\n0::/\n");
  REQUIRE(paths.unified);
  CHECK(paths.unified->own == "/sys/fs/cgroup/unified");
  REQUIRE(paths.v1.contains("memory"));
  CHECK(paths.v1.at("memory").own == "/sys/fs/cgroup/memory/jobs/17");
  CHECK(paths.v1.at("memory").mount == "/sys/fs/cgroup/memory");
  CHECK(paths.v1.at("cpu").own == "/sys/fs/cgroup/cpu,cpuacct");
  CHECK(paths.v1.at("cpuacct").own == paths.v1.at("cpu").own);
  CHECK_FALSE(paths.v1.contains("pids"));
}

TEST_CASE("our group is found in a unified hierarchy, also where only a part is mounted (SBX-101)") {
  const char* own = "0::/user.slice/user-1000.slice/user@1000.service/app.scope\n";
  auto paths = parse_cgroup_paths("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n", own);
  REQUIRE(paths.unified);
  CHECK(paths.unified->own == "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.scope");
  paths = parse_cgroup_paths("30 23 0:26 /user.slice /my\\040groups rw - cgroup2 cgroup2 rw\n", own);
  REQUIRE(paths.unified);
  CHECK(paths.unified->own == "/my groups/user-1000.slice/user@1000.service/app.scope");
  CHECK_FALSE(parse_cgroup_paths("30 23 0:26 /user /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", own).unified);
  CHECK_FALSE(parse_cgroup_paths("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/../outside\n")
                  .unified);
  CHECK_FALSE(parse_cgroup_paths("", own).unified);
}

TEST_CASE("garbage in the texts of /proc is passed over") {
  const auto paths = parse_cgroup_paths("x\n- - -\n1 2 3 4 5 - cgroup2\n\\04 - cgroup2 a b c d\n",
                                        "::\nabc\n0:\n:::::\n0::/\n");
  CHECK_FALSE(paths.unified);
  CHECK(paths.v1.empty());
}

TEST_CASE("limits become settings of version 2 (SBX-101)") {
  ResourceLimits limits{.memory_bytes = 64 << 20};
  CHECK(texts(unified_settings(limits)) == Texts{"memory memory.max=67108864",
                                                 "memory memory.swap.max=67108864 ?",
                                                 "memory memory.oom.group=1 ?"});
  limits.memory_swap_bytes = 64 << 20;
  CHECK(texts(unified_settings(limits))[1] == "memory memory.swap.max=0");
  limits.memory_swap_bytes = ResourceLimits::kUnlimited;
  CHECK(texts(unified_settings(limits))[1] == "memory memory.swap.max=max");
  CHECK(texts(unified_settings({.cpu_quota_us = 150'000, .cpu_period_us = 100'000})) ==
        Texts{"cpu cpu.max=150000 100000"});
  CHECK(texts(unified_settings({.cpu_period_us = 50'000})) == Texts{"cpu cpu.max=max 50000"});
  CHECK(texts(unified_settings({.cpu_shares = 2})) == Texts{"cpu cpu.weight=1"});
  CHECK(texts(unified_settings({.cpu_shares = 1024})) == Texts{"cpu cpu.weight=39"});
  CHECK(texts(unified_settings({.cpu_shares = 262144})) == Texts{"cpu cpu.weight=10000"});
  CHECK(texts(unified_settings({.cpuset_cpus = "0-1", .cpuset_mems = "0", .pids = 200})) ==
        Texts{"cpuset cpuset.mems=0", "cpuset cpuset.cpus=0-1", "pids pids.max=200"});
  CHECK(unified_settings({}).empty());
}

TEST_CASE("limits become settings of version 1, memory before memory with swap (SBX-102)") {
  CHECK(texts(v1_settings({.memory_bytes = 64 << 20})) ==
        Texts{"memory memory.limit_in_bytes=67108864", "memory memory.memsw.limit_in_bytes=134217728 ?"});
  CHECK(texts(v1_settings({.memory_bytes = 64 << 20, .memory_swap_bytes = ResourceLimits::kUnlimited}))[1] ==
        "memory memory.memsw.limit_in_bytes=-1");
  CHECK(texts(v1_settings({.cpu_quota_us = 5000, .cpu_period_us = 10'000, .cpu_shares = 512, .pids = 3})) ==
        Texts{"cpu cpu.cfs_period_us=10000", "cpu cpu.cfs_quota_us=5000", "cpu cpu.shares=512",
              "pids pids.max=3"});
  CHECK(controllers_of(v1_settings({.memory_bytes = 64 << 20, .pids = 3})) == Texts{"memory", "pids"});
}

TEST_CASE("the process the kernel killed is found in its log, in our group only") {
  const std::string log =
      "6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a/"
      "imgbuild-x-1,"
      "task_memcg=/a/imgbuild-x-1,task=cc1plus,pid=4711,uid=0\n"
      "6,2,3,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a/"
      "imgbuild-x-12,"
      "task_memcg=/a/imgbuild-x-12,task=a,pid=1,\\x0a,pid=7,uid=0\n";
  CHECK(find_oom_victim(log, "imgbuild-x-1") == "process 4711 (cc1plus)");
  CHECK(find_oom_victim(log, "imgbuild-x-12") == "process 7 (a,pid=1,\\x0a)");
  CHECK(find_oom_victim(log, "imgbuild-x-2") == "");
  CHECK(find_oom_victim("oom-kill:oom_memcg=/g,pid=,task=\n oom-kill:oom_memcg=/g,task=x,pid=x\n", "g") ==
        "");
}

TEST_CASE("a failure says which limit was met, how much was used and who was killed") {
  ResourceLimits limits{.memory_bytes = 64 << 20, .pids = 20};
  CHECK(
      describe_limit({.oom_kills = 1, .peak_memory_bytes = 64 << 20}, limits, "process 7 (dd)") ==
      "the memory limit of 64.0 MiB (--memory) was reached, peak 64.0 MiB; the kernel killed process 7 (dd)");
  CHECK(describe_limit({.oom_kills = 2}, limits, "") ==
        "the memory limit of 64.0 MiB (--memory) was reached; the kernel killed 2 processes");
  CHECK(describe_limit({.refused_processes = 3}, limits, "") ==
        "the limit of 20 processes (--pids-limit) was reached 3 times");
  CHECK(describe_limit({}, limits, "") == "");
}
