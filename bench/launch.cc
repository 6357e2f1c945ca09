// What a RUN costs beside its command: the median time of `true` on an overlay, three ways, in turns.
//
//   launch [ROUNDS]      as root; prints medians of wall-clock time and, since those are noise on a
//                        busy machine, processor time, as two lines of JSON
//
// spawn:   posix_spawn of the program and waiting for it
// floor:   the least that isolates: five namespaces, an overlay, pivot_root, exec, and everything gone again
// sandbox: ours, with all mounts, masks, filter, capabilities and ids

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "builder/linux_sandbox.h"
#include "tests/support/busybox_root.h"

using namespace imgbuild;
using namespace imgbuild::builder;

namespace {

using Clock = std::chrono::steady_clock;

/// The directories of one launch: a base that is shared, an upper and a work directory of its own.
struct Dirs {
  UniqueFd base, upper, work;
};

class Bench {
 public:
  Bench() : dir_(TempDir::create("/var/tmp", "imgbuild-bench-")) {
    for (const char* name : {"base", "scratch"}) ensure_dir_at(dir_.fd(), name, 0755);
    base_ = open_at(dir_.fd(), "base", O_RDONLY | O_DIRECTORY);
    scratch_ = open_at(dir_.fd(), "scratch", O_RDONLY | O_DIRECTORY);
    tests::fill_busybox_root(base_.get());
    ensure_dir_at(base_.get(), "old", 0755);
  }
  Dirs fresh() {
    const std::string number = cat(++count_);
    Dirs dirs{base_.duplicate(), {}, {}};
    for (const auto& [prefix, fd] : {std::pair("u", &dirs.upper), std::pair("w", &dirs.work)}) {
      ensure_dir_at(dir_.fd(), prefix + number, 0755);
      *fd = open_at(dir_.fd(), prefix + number, O_RDONLY | O_DIRECTORY);
    }
    return dirs;
  }
  int scratch() const { return scratch_.get(); }

 private:
  TempDir dir_;
  UniqueFd base_, scratch_;
  int count_ = 0;
};

/// By path: a descriptor keeps the mount namespace it was opened in, and the kernel takes no layer from
/// another.
std::string name_of(const UniqueFd& fd) {
  char name[4096];
  const ssize_t size = ::readlink(cat("/proc/self/fd/", fd.get()).c_str(), name, sizeof name);
  if (size < 0) throw SystemError(errno, "read the name of", "a directory");
  return std::string(name, static_cast<std::size_t>(size));
}

void spawn() {
  pid_t pid = -1;
  char program[] = "/bin/busybox", word[] = "true";
  char* argv[] = {program, word, nullptr};
  int status = 0;
  if (::posix_spawn(&pid, program, nullptr, nullptr, argv, nullptr) != 0 ||
      ::waitpid(pid, &status, 0) != pid || status != 0)
    throw Error("/bin/busybox cannot be run");
}

void floor_launch(const Dirs& dirs) {
  const std::string options = cat("lowerdir=", name_of(dirs.base), ",upperdir=", name_of(dirs.upper),
                                  ",workdir=", name_of(dirs.work), ",index=off,metacopy=off,volatile");
  const std::string target = name_of(dirs.base);
  const unsigned long flags =
      CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | SIGCHLD;
  const pid_t pid = static_cast<pid_t>(::syscall(SYS_clone, flags, nullptr, nullptr, nullptr, 0));
  if (pid == 0) {
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) ::_exit(2);
    if (::mount("overlay", target.c_str(), "overlay", 0, options.c_str()) != 0) ::_exit(3);
    if (::chdir(target.c_str()) != 0) ::_exit(4);
    if (::syscall(SYS_pivot_root, ".", "old") != 0 || ::chdir("/") != 0 || ::umount2("/old", MNT_DETACH) != 0)
      ::_exit(5);
    char program[] = "/bin/busybox", word[] = "true";
    char* argv[] = {program, word, nullptr};
    ::execv(program, argv);
    ::_exit(6);
  }
  int status = 0;
  if (pid < 0 || ::waitpid(pid, &status, 0) != pid || status != 0)
    throw Error(cat("the least launch failed: stage ", WEXITSTATUS(status)));
}

void sandbox_launch(LinuxSandbox& sandbox, const Dirs& dirs) {
  SandboxSpec spec;
  spec.rootfs = {.lower_dirs = {dirs.base.get()}, .upper_dir = dirs.upper.get(), .work_dir = dirs.work.get()};
  spec.argv = {"/bin/busybox", "true"};
  spec.env = {"PATH=/bin"};
  if (sandbox.run(spec, [](int, std::string_view) {}, {}).exit_code != 0)
    throw Error("the sandboxed launch failed");
}

/// Processor time of this process and of those it waited for.
double cpu_ms() {
  double total = 0;
  for (const __rusage_who who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    ::getrusage(who, &usage);
    for (const timeval& time : {usage.ru_utime, usage.ru_stime})
      total += static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) * 1e-3;
  }
  return total;
}

/// Processor time of one round of `work`, which must have collected what it started when it returns.
template <typename Work>
double cpu_of(int rounds, const Work& work) {
  const double begin = cpu_ms();
  work();
  return (cpu_ms() - begin) / rounds;
}

double median(std::vector<double> times) {
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

}  // namespace

int main(int argc, char** argv) try {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 200;
  Bench bench;
  LinuxSandbox sandbox({.scratch_dir = bench.scratch(), .flavour = oci::OverlayFlavour::trusted});
  sandbox_launch(sandbox, bench.fresh());  // starts the launcher
  std::vector<double> spawned, least, ours;
  const auto timed = [](std::vector<double>& times, const auto& work) {
    const auto begin = Clock::now();
    work();
    times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
  };
  for (int i = 0; i < rounds; ++i) {
    const Dirs first = bench.fresh(), second = bench.fresh();
    timed(spawned, [] { spawn(); });
    timed(least, [&] { floor_launch(first); });
    timed(ours, [&] { sandbox_launch(sandbox, second); });
  }
  std::vector<Dirs> dirs;
  for (int i = 0; i < 2 * rounds; ++i) dirs.push_back(bench.fresh());
  const double floor_cpu = cpu_of(rounds, [&] {
    for (int i = 0; i < rounds; ++i) floor_launch(dirs[static_cast<std::size_t>(i)]);
  });
  const double sandbox_cpu = cpu_of(rounds, [&] {
    LinuxSandbox own({.scratch_dir = bench.scratch(), .flavour = oci::OverlayFlavour::trusted});
    for (int i = 0; i < rounds; ++i) sandbox_launch(own, dirs[static_cast<std::size_t>(rounds + i)]);
  });
  std::printf("{\"floor_cpu_ms\": %.3f, \"sandbox_cpu_ms\": %.3f, \"cpu_ratio\": %.2f}\n", floor_cpu,
              sandbox_cpu, sandbox_cpu / floor_cpu);
  std::printf(
      "{\"rounds\": %d, \"spawn_ms\": %.3f, \"floor_ms\": %.3f, \"sandbox_ms\": %.3f, \"sandbox_to_floor\": "
      "%.2f, "
      "\"sandbox_to_spawn\": %.2f}\n",
      rounds, median(spawned), median(least), median(ours), median(ours) / median(least),
      median(ours) / median(spawned));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "launch: %s\n", error.what());
  return 1;
}
