#include "builder/watchdog.h"

#include <poll.h>
#include <pthread.h>
#include <sys/vfs.h>
#include <time.h>

#include <algorithm>
#include <limits>
#include <map>
#include <system_error>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

using std::chrono::nanoseconds;

constexpr auto kUnlimited = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kBytesPerMillisecond = 4u << 20;  // 4 GiB/s: what a few processors fill at most
constexpr std::uint64_t kProcessesPerMillisecond = 40;    // what two processors fork
constexpr nanoseconds kShortest = std::chrono::milliseconds(1);
constexpr nanoseconds kLongest = std::chrono::milliseconds(50);
constexpr nanoseconds kLongestForCost = std::chrono::milliseconds(250);
constexpr std::size_t kMostNames = 200;

nanoseconds processor_time() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
}

std::uint64_t used_bytes(int file_system) {
  struct statfs info {};
  if (::fstatfs(file_system, &info) != 0 || info.f_blocks < info.f_bfree) return 0;
  return (info.f_blocks - info.f_bfree) * static_cast<std::uint64_t>(info.f_bsize);
}

}  // namespace

Watchdog::Watchdog(const WatchOrder& order) try : order_(order) {
  thread_ = std::jthread([this](std::stop_token stop) { watch(std::move(stop)); });
} catch (const std::system_error& error) {
  throw SystemError(error.code().value(), "start", "a thread to watch a command");
}

void Watchdog::begin(ProcessTree tree, int process, std::function<void()> end_all) {
  {
    const std::lock_guard lock(mutex_);
    process_ = process;
    end_all_ = std::move(end_all);
    tree_.emplace(std::move(tree));
  }
  wake_.notify_all();
}

Watchdog::~Watchdog() = default;

void Watchdog::add_memory(UniqueFd file_system) {
  const std::lock_guard lock(mutex_);
  added_.push_back(std::move(file_system));
}

void Watchdog::stop() noexcept {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

WatchReport Watchdog::finish() {
  stop();
  const std::lock_guard lock(mutex_);
  added_.clear();
  if (failure_) std::rethrow_exception(failure_);
  return report_;
}

void Watchdog::watch(std::stop_token stop) {
  ::pthread_setname_np(::pthread_self(), "watchdog");
  {
    std::unique_lock lock(mutex_);
    if (!wake_.wait(lock, stop, [this] { return tree_.has_value(); })) return;
  }
  while (!stop.stop_requested()) {
    const auto begin = processor_time();
    bool reached = false;
    try {
      reached = look();
    } catch (const std::exception&) {
      failure_ = std::current_exception();  // what nobody watches must not go on
      reached = true;
    }
    if (reached) {
      fired_ = true;
      end_all_();
      return;
    }
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, next_look(free_bytes_, free_processes_, processor_time() - begin),
                   [] { return false; });
  }
}

bool Watchdog::look() {
  const auto& processes = tree_->look(order_.processes.value_or(kUnlimited));
  std::uint64_t tasks = 0;
  for (const auto& process : processes) tasks += process.tasks;
  // Its number may be another's by now.
  if (has_ended()) return false;
  report_.peak_processes = std::max(report_.peak_processes, tasks);
  return check_processes(processes, tasks) || check_memory(processes);
}

bool Watchdog::has_ended() const {
  pollfd end{process_, POLLIN, 0};
  return ::poll(&end, 1, 0) != 0;
}

bool Watchdog::check_processes(const std::vector<ProcessUse>& processes, std::uint64_t tasks) {
  free_processes_ = kUnlimited;
  if (!order_.processes) return false;
  free_processes_ = *order_.processes - std::min(tasks, *order_.processes);
  if (tasks <= *order_.processes) return false;
  std::map<std::string, std::uint64_t> names;
  for (std::size_t i = 0; i < processes.size() && i < kMostNames; ++i)
    names[tree_->name(processes[i].pid)] += processes[i].tasks;
  names.erase("");
  const auto most =
      std::max_element(names.begin(), names.end(), [](auto& a, auto& b) { return a.second < b.second; });
  if (most != names.end()) report_.holder = printable(most->first);
  report_.reached = WatchReport::Limit::processes;
  return true;
}

std::uint64_t Watchdog::memory_files() const {
  std::uint64_t out = 0;
  for (const int fd : order_.memory_file_systems) out += used_bytes(fd);
  const std::lock_guard lock(mutex_);
  for (const auto& fd : added_) out += used_bytes(fd.get());
  return out;
}

bool Watchdog::check_memory(const std::vector<ProcessUse>& processes) {
  free_bytes_ = kUnlimited;
  const std::uint64_t files = memory_files();
  std::uint64_t resident = files, anonymous = files;
  for (const auto& process : processes) {
    resident += process.resident_bytes;
    anonymous += process.resident_bytes - process.shared_bytes;
  }
  if (!order_.memory_bytes || resident <= *order_.memory_bytes) {
    report_.peak_bytes = std::max(report_.peak_bytes, anonymous);
    if (order_.memory_bytes) free_bytes_ = *order_.memory_bytes - resident;
    return false;
  }
  std::uint64_t exact = 0, shared = 0, most = files;
  pid_t holder = 0;
  for (const auto& process : processes) {
    const auto parent = std::find_if(processes.begin(), processes.end(),
                                     [&](const auto& p) { return p.pid == process.parent; });
    if (parent != processes.end() && tree_->share_memory(process, *parent)) continue;
    const ExactMemory use = tree_->exact_memory(process.pid);
    exact += use.private_bytes;
    shared += use.shared_bytes;
    if (use.private_bytes + use.shared_bytes <= most) continue;
    most = use.private_bytes + use.shared_bytes;
    holder = process.pid;
  }
  exact += std::max(shared, files);  // what is mapped of a tmpfs is counted by both
  report_.peak_bytes = std::max(report_.peak_bytes, exact);
  if (exact <= *order_.memory_bytes) {
    free_bytes_ = *order_.memory_bytes - exact;
    return false;
  }
  report_.holder = holder == 0 ? "files in memory (tmpfs)" : tree_->describe(holder);
  report_.holder_bytes = most;
  report_.reached = WatchReport::Limit::memory;
  return true;
}

nanoseconds next_look(std::uint64_t free_bytes, std::uint64_t free_processes, nanoseconds cost) {
  const std::uint64_t milliseconds =
      std::min(free_bytes / kBytesPerMillisecond, free_processes / kProcessesPerMillisecond);
  const nanoseconds wanted =
      milliseconds >= 50 ? kLongest : nanoseconds(std::chrono::milliseconds(milliseconds));
  return std::max({wanted, kShortest, std::min(150 * cost, kLongestForCost)});
}

std::string describe_watched(const WatchReport& report, const WatchOrder& order) {
  constexpr const char* kHow = "; it was watched by imgbuild, not kept by the kernel";
  switch (report.reached) {
    case WatchReport::Limit::none:
      break;
    case WatchReport::Limit::memory:
      return cat("the memory limit of ", human_size(*order.memory_bytes), " (--memory) was reached, peak ",
                 human_size(report.peak_bytes), "; ", report.holder, " held most, ",
                 human_size(report.holder_bytes), kHow);
    case WatchReport::Limit::processes:
      return cat("the limit of ", *order.processes, " processes (--pids-limit) was reached, at least ",
                 report.peak_processes, " were there",
                 report.holder.empty() ? "" : cat(", most of them ", report.holder), kHow);
  }
  return {};
}

}  // namespace imgbuild::builder
