#include "tests/support/work_meter.h"

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "base/unique_fd.h"

namespace imgbuild::tests {

namespace {

/// A counter of this thread's instructions in user mode; virtual machines often have none.
UniqueFd open_counter() {
  perf_event_attr attributes{};
  attributes.type = PERF_TYPE_HARDWARE;
  attributes.size = sizeof attributes;
  attributes.config = PERF_COUNT_HW_INSTRUCTIONS;
  attributes.exclude_kernel = 1;
  attributes.exclude_hv = 1;
  return UniqueFd(
      static_cast<int>(::syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC)));
}

std::uint64_t read_counter(const UniqueFd& counter) {
  std::uint64_t value = 0;
  return ::read(counter.get(), &value, sizeof value) == sizeof value ? value : 0;
}

std::uint64_t processor_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

std::uint64_t measure_work(const std::function<void()>& work) {
  static const UniqueFd counter = open_counter();
  const bool counts = static_cast<bool>(counter) && read_counter(counter) > 0;
  const std::uint64_t before = counts ? read_counter(counter) : processor_time();
  work();
  const std::uint64_t after = counts ? read_counter(counter) : processor_time();
  return std::max<std::uint64_t>(after - before, 1);
}

double growth_of(const std::function<void()>& small, const std::function<void()>& large, double expected) {
  std::uint64_t least_small = UINT64_MAX;
  std::uint64_t least_large = UINT64_MAX;
  double growth = 0;
  for (int attempt = 0; attempt < 10; ++attempt) {
    least_small = std::min(least_small, measure_work(small));
    least_large = std::min(least_large, measure_work(large));
    growth = static_cast<double>(least_large) / static_cast<double>(least_small);
    if (growth <= expected) break;
  }
  return growth;
}

}  // namespace imgbuild::tests
