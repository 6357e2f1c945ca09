#include "builder/limit_keeper.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strings.h"
#include "tests/support/fake_cgroup_files.h"

using namespace imgbuild;
using namespace imgbuild::builder;
using imgbuild::tests::FakeCgroupFiles;

namespace {

const std::string kRootGroup = "/sys/fs/cgroup";

CgroupPaths nowhere() { return {}; }

}  // namespace

TEST_CASE("without control groups memory and processes are watched, and that is said once") {
  FakeCgroupFiles files(kRootGroup, {}, true);
  LimitKeeper keeper(files, nowhere);
  const ResourceLimits limits{.memory_bytes = 64 << 20, .pids = 200};
  const std::string notice = keeper.take_notice(limits);
  CHECK(notice.find("--memory and --pids-limit are watched by imgbuild") != std::string::npos);
  CHECK(notice.find("Delegate=") != std::string::npos);
  CHECK(notice.find('\n') == std::string::npos);
  CHECK(keeper.take_notice(limits).empty());
  const auto kept = keeper.keep(limits);
  CHECK(!kept.cgroup);
  CHECK(!kept.processors);
  CHECK(kept.watch.memory_bytes == 64u << 20);
  CHECK(kept.watch.processes == 200u);
}

TEST_CASE("without limits nothing is kept and no file is read") {
  FakeCgroupFiles files(kRootGroup, {}, true);
  LimitKeeper keeper(files, []() -> CgroupPaths { throw Error("read"); });
  const auto kept = keeper.keep({});
  CHECK(!kept.cgroup);
  CHECK(!kept.watch.any());
  CHECK(keeper.take_notice({}).empty());
}

TEST_CASE("the kernel keeps what it can and only the rest has a substitute") {
  FakeCgroupFiles files(kRootGroup, {"memory"}, true);
  files.groups[kRootGroup].handed_on = {"memory"};
  const std::string own = kRootGroup + "/app.scope";
  files.add(own).processes = {cat(::getpid())};
  LimitKeeper keeper(files, [&] {
    CgroupPaths paths;
    paths.unified = CgroupPlace{own, kRootGroup};
    return paths;
  });
  const ResourceLimits limits{.memory_bytes = 64 << 20, .pids = 200};
  const auto kept = keeper.keep(limits);
  REQUIRE(kept.cgroup);
  CHECK(files.groups.at(kept.cgroup->directories()[0]).files.at("memory.max") == "67108864");
  CHECK(!kept.watch.memory_bytes);
  CHECK(kept.watch.processes == 200u);
  const std::string notice = keeper.take_notice(limits);
  CHECK(notice.find("limits: --pids-limit is watched") == 0);
  CHECK(notice.find("--memory") == std::string::npos);
  CHECK(keeper.take_notice({.memory_bytes = 64 << 20}).empty());
}

TEST_CASE("whole processors are bound, and what has no substitute is refused with the reason (SBX-103)") {
  FakeCgroupFiles files(kRootGroup, {}, true);
  LimitKeeper keeper(files, nowhere);
  {
    const auto kept = keeper.keep({.cpu_quota_us = 100'000, .cpu_period_us = 100'000});
    REQUIRE(kept.processors);
    CHECK(kept.processors->numbers().size() == 1);
    CHECK(!kept.watch.any());
  }
  const auto refusal = [&](const ResourceLimits& limits) -> std::string {
    try {
      (void)keeper.keep(limits);
    } catch (const UnsupportedError& error) {
      CHECK(error.code() == ExitCode::unsupported);
      CHECK(!error.notes().empty());
      return error.message();
    }
    return {};
  };
  CHECK(refusal({.cpu_quota_us = 150'000, .cpu_period_us = 100'000}).find("not a fraction") !=
        std::string::npos);
  CHECK(refusal({.cpu_shares = 512}).find("--cpu-shares cannot be applied") == 0);
  CHECK(refusal({.cpuset_mems = "0"}).find("--cpuset-mems cannot be applied") == 0);
  CHECK(refusal({.memory_bytes = 64 << 20, .memory_swap_bytes = 64 << 20})
            .find("--memory-swap cannot be applied") == 0);
  CHECK(refusal({.cpuset_cpus = "8191"}).find("8191") != std::string::npos);
}

TEST_CASE("a quota is whole processors only when it is") {
  CHECK(whole_processors({.cpu_quota_us = 200'000}) == 2u);
  CHECK(whole_processors({.cpu_quota_us = 50'000, .cpu_period_us = 50'000}) == 1u);
  CHECK(!whole_processors({.cpu_quota_us = 150'000}));
  CHECK(!whole_processors({.cpu_period_us = 50'000}));
}

TEST_CASE(
    "a command that was ended for what it used has failed, even when it came to its own end meanwhile") {
  KeptLimits kept;
  kept.watch.memory_bytes = 64 << 20;
  WatchResult watched;
  watched.ended.peak_memory_bytes = 10 << 20;
  watched.seen.emplace();
  watched.seen->peak_bytes = 30 << 20;
  auto result = result_of(watched, kept, {});
  CHECK(result.exit_code == 0);
  CHECK(!result.limit_reached);
  CHECK(result.limit_report.empty());
  CHECK(result.peak_memory_bytes == 30u << 20);
  CHECK(result.peak_is_sampled);
  watched.seen->reached = WatchReport::Limit::memory;
  watched.seen->holder = "process 7 (cc1)";
  result = result_of(watched, kept, {});
  CHECK(result.exit_code == 137);
  CHECK(result.limit_reached);
  CHECK(result.out_of_memory);
  CHECK(result.limit_report.find("(--memory) was reached, peak 30.0 MiB; process 7 (cc1) held most") !=
        std::string::npos);
}
