#include "builder/watchdog.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <future>

#include "base/strings.h"
#include "tests/support/requires.h"

using namespace imgbuild;
using namespace imgbuild::builder;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

namespace {

constexpr std::size_t kMiB = 1u << 20;

/// A child that does something and then waits to be killed; its children die with it.
class Child {
 public:
  template <typename Body>
  explicit Child(Body body) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::setpgid(0, 0);
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      body();
      if (::write(ends[1], "x", 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    ::setpgid(pid_, pid_);
    ::close(ends[1]);
    char byte = 0;
    REQUIRE(::read(ends[0], &byte, 1) == 1);
    ::close(ends[0]);
    pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    REQUIRE(pidfd_);
  }
  ~Child() {
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  pid_t pid() const noexcept { return pid_; }
  int pidfd() const noexcept { return pidfd_.get(); }

 private:
  pid_t pid_ = -1;
  UniqueFd pidfd_;
};

void fill(std::size_t bytes, int kind) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) ::_exit(2);
  for (std::size_t at = 0; at < bytes; at += 4096) static_cast<volatile char*>(memory)[at] = 1;
}

pid_t fork_and_wait() {
  const pid_t pid = ::fork();
  if (pid == 0)
    for (;;) ::pause();
  return pid;
}

/// What a watchdog says of a child within a second.
WatchReport watched(const Child& child, const WatchOrder& order) {
  std::promise<void> ended;
  auto future = ended.get_future();
  Watchdog dog(order);
  dog.begin(ProcessTree(child.pid(), false), child.pidfd(), [&] { ended.set_value(); });
  const bool fired = future.wait_for(milliseconds(order.memory_bytes || order.processes ? 300 : 50)) ==
                     std::future_status::ready;
  CHECK(dog.has_fired() == fired);
  return dog.finish();
}

/// How many processes there are once there are as many as wanted, or after ten seconds.
std::size_t grown_to(std::size_t wanted, ProcessTree& tree) {
  for (int i = 0; i < 1000 && tree.look(1000).size() != wanted; ++i) ::usleep(10'000);
  return tree.look(1000).size();
}

}  // namespace

TEST_CASE("the processes below one are found with their threads, and the keeper is left out") {
  REQUIRE(ProcessTree::is_supported());
  const Child child([] {
    fork_and_wait();
    const pid_t middle = ::fork();
    if (middle == 0) {
      fork_and_wait();
      for (;;) ::pause();
    }
  });
  ProcessTree all(child.pid(), false);
  CHECK(grown_to(4, all) == 4);
  CHECK(all.look(1000).front().tasks == 1);
  CHECK(all.look(1).size() >= 2);  // more than one, and it may know of more by then
  ProcessTree kept(child.pid(), true);
  CHECK(kept.look(1000).size() == 3);
  CHECK(all.name(child.pid()) == all.name(::getpid()));
}

TEST_CASE("threads count as processes do, and so do children of threads") {
  const Child child([] {
    for (int i = 0; i < 5; ++i) new std::jthread([] { fork_and_wait(), ::pause(); });
  });
  ProcessTree tree(child.pid(), false);
  CHECK(grown_to(6, tree) == 6);
  const auto& found = tree.look(1000);
  const auto root = std::find_if(found.begin(), found.end(), [&](auto& p) { return p.pid == child.pid(); });
  REQUIRE(root != found.end());
  CHECK(root->tasks == 6);
}

TEST_CASE("a process that is gone has no tree") {
  pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  ::waitpid(pid, nullptr, 0);
  ProcessTree tree(pid, false);
  CHECK(tree.look(1000).empty());
}

TEST_CASE("who uses too much memory is named with what it held") {
  if (tests::has_memory_of_a_sanitizer()) return;
  const Child child([] { fill(40 * kMiB, MAP_PRIVATE); });
  const WatchOrder order{.memory_bytes = 32 * kMiB};
  const auto report = watched(child, order);
  CHECK(report.reached == WatchReport::Limit::memory);
  CHECK(report.peak_bytes >= 40 * kMiB);
  CHECK(report.peak_bytes < 200 * kMiB);
  CHECK(report.holder.starts_with(cat("process ", child.pid(), " (")));
  CHECK(report.holder_bytes >= 40 * kMiB);
  const auto text = describe_watched(report, order);
  CHECK(text.find("the memory limit of 32.0 MiB (--memory) was reached, peak ") == 0);
  CHECK(text.find("watched by imgbuild, not kept by the kernel") != std::string::npos);
}

TEST_CASE("shared memory is memory") {
  if (tests::has_memory_of_a_sanitizer()) return;
  const Child child([] { fill(60 * kMiB, MAP_SHARED); });
  CHECK(watched(child, {.memory_bytes = 48 * kMiB}).reached == WatchReport::Limit::memory);
  CHECK(watched(child, {.memory_bytes = 200 * kMiB}).reached == WatchReport::Limit::none);
}

TEST_CASE("what processes share after fork counts once") {
  if (tests::has_memory_of_a_sanitizer()) return;
  const Child child([] {
    fill(60 * kMiB, MAP_PRIVATE);
    for (int i = 0; i < 4; ++i) fork_and_wait();
  });
  ProcessTree tree(child.pid(), false);
  std::uint64_t resident = 0;
  for (const auto& process : tree.look(1000)) resident += process.resident_bytes;
  REQUIRE(resident > 300 * kMiB);
  CHECK(watched(child, {.memory_bytes = 150 * kMiB}).reached == WatchReport::Limit::none);
  CHECK(watched(child, {.memory_bytes = 50 * kMiB}).reached == WatchReport::Limit::memory);
}

TEST_CASE("what a child shares before it executes a program counts once") {
  if (tests::has_memory_of_a_sanitizer()) return;
  const Child child([] {
    fill(100 * kMiB, MAP_PRIVATE);
    static char stack[64 * 1024] __attribute__((aligned(16)));
    const auto wait = [](void*) -> int {
      for (;;) ::pause();
    };
    ::clone(wait, stack + sizeof stack, CLONE_VM | SIGCHLD, nullptr);
  });
  ProcessTree tree(child.pid(), false);
  const auto& found = tree.look(1000);
  REQUIRE(found.size() == 2);
  CHECK(tree.share_memory(found[0], found[1]));
  CHECK(watched(child, {.memory_bytes = 170 * kMiB}).reached == WatchReport::Limit::none);
}

TEST_CASE("files in memory count, wherever they are told of") {
  if (tests::has_memory_of_a_sanitizer()) return;
  const Child child([] {});
  char name[] = "/dev/shm/imgbuild-watchdog-XXXXXX";
  const UniqueFd file(::mkstemp(name));
  REQUIRE(file);
  ::unlink(name);
  REQUIRE(::posix_fallocate(file.get(), 0, 160 * kMiB) == 0);
  const auto report = watched(child, {.memory_bytes = 150 * kMiB, .memory_file_systems = {file.get()}});
  CHECK(report.reached == WatchReport::Limit::memory);
  CHECK(report.holder == "files in memory (tmpfs)");
}

TEST_CASE("a watchdog that was never told of a command ends") {
  Watchdog dog({.processes = 1});
  CHECK(dog.finish().reached == WatchReport::Limit::none);
}

TEST_CASE("too many processes are counted and named") {
  const Child child([] {
    for (int i = 0; i < 30; ++i) fork_and_wait();
  });
  const WatchOrder order{.processes = 20};
  const auto report = watched(child, order);
  CHECK(report.reached == WatchReport::Limit::processes);
  CHECK(report.peak_processes > 20);
  CHECK(describe_watched(report, order).find("the limit of 20 processes (--pids-limit) was reached, ") == 0);
  CHECK(watched(child, {.processes = 31}).reached == WatchReport::Limit::none);
}

TEST_CASE("the next look comes sooner the less is left, and never costs more than a hundredth") {
  constexpr auto kAny = ~std::uint64_t{0};
  CHECK(next_look(kAny, kAny, nanoseconds(0)) == milliseconds(50));
  CHECK(next_look(0, kAny, nanoseconds(0)) == milliseconds(1));
  CHECK(next_look(kAny, 0, nanoseconds(0)) == milliseconds(1));
  CHECK(next_look(40 * kMiB, kAny, nanoseconds(0)) == milliseconds(10));
  CHECK(next_look(kAny, 400, nanoseconds(0)) == milliseconds(10));
  CHECK(next_look(0, kAny, milliseconds(1)) == milliseconds(150));
  CHECK(next_look(0, kAny, milliseconds(30)) == milliseconds(250));
}
