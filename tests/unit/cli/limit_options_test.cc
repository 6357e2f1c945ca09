#include "cli/limit_options.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "builder/build.h"

using namespace imgbuild;
using namespace imgbuild::cli;
using namespace std::chrono_literals;

namespace {

builder::BuildRequest applied(const LimitOptions& options) {
  builder::BuildRequest request;
  apply_limits(options, request);
  return request;
}

void check_refused(const LimitOptions& options, const char* part) {
  CAPTURE(part);
  try {
    applied(options);
    FAIL("it was accepted");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::usage);
    CHECK(error.message().find(part) != std::string::npos);
  }
}

}  // namespace

TEST_CASE("durations are numbers with units, one after the other") {
  CHECK(parse_duration("90s", "--timeout") == 90s);
  CHECK(parse_duration("1h30m", "--timeout") == 90min);
  CHECK(parse_duration("1.5m", "--timeout") == 90s);
  CHECK(parse_duration("200ms", "--timeout") == 200ms);
  CHECK(parse_duration("2µs", "--timeout") == 2us);
  CHECK(parse_duration("0", "--timeout") == 0s);
  for (const char* bad :
       {"", "90", "s", "1d", "-1s", "1e3s", "1.2.3s", "1s ", "9999999h", ".s", "nan", "inf"}) {
    CAPTURE(bad);
    CHECK_THROWS_WITH_AS(parse_duration(bad, "--timeout"), doctest::Contains("--timeout"), Error);
  }
}

TEST_CASE("without options nothing is limited but the output") {
  const auto request = applied({});
  CHECK_FALSE(request.limits.any());
  CHECK_FALSE(request.step_timeout);
  CHECK(request.output_limits.max_bytes == 2u << 20);
  CHECK(request.output_limits.bytes_per_second == 200u << 10);
}

TEST_CASE("limits are read in docker's words") {
  const auto limits =
      applied({.memory = "64m", .memory_swap = "-1", .cpus = "1.5", .cpuset_cpus = "0-1,3", .pids = 200})
          .limits;
  CHECK(limits.memory_bytes == 64u << 20);
  CHECK(limits.memory_swap_bytes == builder::ResourceLimits::kUnlimited);
  CHECK(limits.cpu_quota_us == 150'000);
  CHECK(limits.cpu_period_us == 100'000);
  CHECK(limits.cpuset_cpus == "0-1,3");
  CHECK(limits.pids == 200);
  CHECK(applied({.cpu_quota = 50'000, .cpu_period = 20'000, .cpu_shares = 512}).limits.cpu_shares == 512);
  CHECK_FALSE(applied({.pids = -1}).limits.pids);
  CHECK_FALSE(applied({.pids = 0}).limits.any());
  CHECK(applied({.log_size = "0", .log_speed = "0"}).output_limits.max_bytes == 0);
  CHECK_FALSE(applied({.timeout = "0"}).step_timeout);
}

TEST_CASE("a limit the kernel could not take is refused with its name") {
  check_refused({.memory = "1m"}, "--memory");
  check_refused({.memory = "much"}, "--memory");
  check_refused({.memory_swap = "1g"}, "--memory-swap needs --memory");
  check_refused({.memory = "64m", .memory_swap = "32m"}, "--memory-swap");
  check_refused({.cpus = "0"}, "--cpus");
  check_refused({.cpus = "-1"}, "--cpus");
  check_refused({.cpus = "1e9"}, "--cpus");
  check_refused({.cpus = "nan"}, "--cpus");
  check_refused({.cpus = "1", .cpu_quota = 5000}, "--cpus");
  check_refused({.cpu_quota = 10}, "--cpu-quota");
  check_refused({.cpu_period = 999}, "--cpu-period");
  check_refused({.cpu_shares = 1}, "--cpu-shares");
  check_refused({.cpuset_cpus = "all"}, "--cpuset-cpus");
  check_refused({.cpuset_mems = "0\n1"}, "--cpuset-mems");
  check_refused({.pids = -2}, "--pids-limit");
  check_refused({.timeout = "soon"}, "--timeout");
  check_refused({.log_size = "x"}, "--step-log-max-size");
}
