#include "builder/fuse_overlay.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/error.h"
#include "base/mount.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

/// An unmount writes what is still in memory; what does not end at all is killed.
constexpr auto kEndTime = std::chrono::seconds(30);
constexpr auto kLastBreath = std::chrono::seconds(2);
constexpr std::size_t kErrorLimit = 16 * 1024;

/// What it needs to do for others what they may do (the kernel has checked that), and to read and write
/// trusted attributes.
constexpr unsigned kKept[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
                              CAP_FSETID, CAP_MKNOD,        CAP_SETFCAP,         CAP_SYS_ADMIN};

std::string by_name(int fd) { return cat("/proc/self/fd/", fd); }

UniqueFd mount_fuse(int device) {
  FsContext fuse("fuse");
  fuse.set_string("source", "fuse-overlayfs");
  fuse.set_string("subtype", "fuse-overlayfs");
  fuse.set_string("fd", cat(device));
  fuse.set_string("rootmode", "40000");
  fuse.set_string("user_id", "0");
  fuse.set_string("group_id", "0");
  // Every user of the sandbox, and the kernel decides what each of them may do.
  fuse.set_flag("allow_other");
  fuse.set_flag("default_permissions");
  return fuse.mount();
}

std::string dir_options(const OverlayDirs& dirs) {
  // The store syncs what it keeps.
  std::string out = "volatile,lowerdir=";
  for (std::size_t i = 0; i < dirs.lower.size(); ++i) out += cat(i == 0 ? "" : ":", by_name(dirs.lower[i]));
  if (dirs.upper >= 0) out += cat(",upperdir=", by_name(dirs.upper), ",workdir=", by_name(dirs.work));
  return out;
}

/// Everything the new process needs; it may not allocate.
struct ServerPlan {
  int program;
  char** argv;
  char** env;
  int null, errors;
  const int* kept;
  std::size_t kept_count;
  int builder;  ///< pidfd
  std::uint64_t dropped_from_bounds;
};

std::uint64_t capabilities_to_drop() {
  std::uint64_t out = 0;
  for (unsigned number = 0; number < 64; ++number) {
    if (::prctl(PR_CAPBSET_READ, number) != 1) continue;
    out |= std::uint64_t{1} << number;
  }
  for (const unsigned number : kKept) out &= ~(std::uint64_t{1} << number);
  return out;
}

[[noreturn]] void serve(const ServerPlan& plan) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  pollfd gone{plan.builder, POLLIN, 0};
  if (::poll(&gone, 1, 0) != 0) ::_exit(126);
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &standard, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::setsid();  // Ctrl-C on the terminal is for the builder alone
  for (unsigned number = 0; number < 64; ++number)
    if ((plan.dropped_from_bounds >> number & 1u) != 0) ::prctl(PR_CAPBSET_DROP, number);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (::chdir("/") != 0 || ::dup2(plan.null, 0) < 0 || ::dup2(plan.null, 1) < 0 || ::dup2(plan.errors, 2) < 0)
    ::_exit(126);
  if (::syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) != 0) ::_exit(126);
  for (std::size_t i = 0; i < plan.kept_count; ++i)
    if (::fcntl(plan.kept[i], F_SETFD, 0) != 0) ::_exit(126);
  ::syscall(SYS_execveat, plan.program, "", plan.argv, plan.env, AT_EMPTY_PATH);
  ::_exit(127);
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (auto& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

/// Above the standard streams, which the program has of its own.
UniqueFd high(const UniqueFd& fd) {
  UniqueFd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  if (!moved) throw SystemError(errno, "duplicate", "a descriptor");
  return moved;
}

std::string ending(int status) {
  if (WIFSIGNALED(status)) return cat("it was killed by signal ", WTERMSIG(status));
  return cat("it ended with exit code ", WEXITSTATUS(status));
}

}  // namespace

FuseOverlay::FuseOverlay(const FuseProgram& program, const OverlayDirs& dirs) : program_(program) {
  if (dirs.lower.size() > kMaxLowerDirs)
    throw UnsupportedError(cat("an image of ", dirs.lower.size(), " layers cannot be mounted: at most ",
                               kMaxLowerDirs, " are put together"));
  {
    const UniqueFd device = high(open_fuse_device());
    mount_ = mount_fuse(device.get());
    start(dirs, device);
    // From here on the program alone holds the connection, so that it ends with it.
  }
  struct stat info {};
  if (::fstat(mount_.get(), &info) == 0) return;
  const int error_number = errno;
  mount_.reset();
  if (wait(kLastBreath)) fail();
  throw SystemError(error_number, "use a mount of", program_.path);
}

FuseOverlay::~FuseOverlay() {
  if (pid_ <= 0) return;
  process_.kill(SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void FuseOverlay::start(const OverlayDirs& dirs, const UniqueFd& device) {
  int ends[2];
  // Never blocks: nobody may read what it says later.
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw SystemError(errno, "create", "a pipe");
  UniqueFd read_end(ends[0]);
  const UniqueFd write_low(ends[1]), write_end = high(write_low), null = high(open_path("/dev/null", O_RDWR));
  const UniqueFd self(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!self) throw SystemError(errno, "open", "the builder's process");
  std::vector<std::string> words = {"fuse-overlayfs", "-f", "-o", dir_options(dirs),
                                    cat("/dev/fd/", device.get())};
  std::vector<std::string> variables = {"LC_ALL=C"};
  std::vector<char*> argv = pointers(words), env = pointers(variables);
  std::vector<int> kept = dirs.lower;
  kept.push_back(device.get());
  if (dirs.upper >= 0) kept.insert(kept.end(), {dirs.upper, dirs.work});
  const ServerPlan plan{program_.file.get(), argv.data(),     env.data(),
                        null.get(),          write_end.get(), kept.data(),
                        kept.size(),         self.get(),      capabilities_to_drop()};
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_PIDFD;
  args.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid < 0 && errno == ENOSYS)
    pid = ::syscall(SYS_clone, (args.flags & 0xffffffffu) | SIGCHLD, nullptr, &pidfd, nullptr, 0);
  if (pid == 0) serve(plan);
  if (pid < 0) throw SystemError(errno, "start", program_.path);
  pid_ = static_cast<pid_t>(pid);
  process_ = Pidfd(UniqueFd(pidfd));
  errors_ = std::move(read_end);
}

bool FuseOverlay::wait(std::chrono::milliseconds patience) {
  if (pid_ <= 0) return true;
  pollfd ended{process_.get(), POLLIN, 0};
  int ready = 0;
  while ((ready = ::poll(&ended, 1, static_cast<int>(patience.count()))) < 0 && errno == EINTR) {
  }
  if (ready == 0) return false;
  while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return true;
}

void FuseOverlay::fail() {
  Error error(cat("fuse-overlayfs, which shows a command its files, failed: ", ending(status_)),
              ExitCode::system);
  std::string said, line;
  char buffer[4096];
  for (ssize_t got = 0;
       said.size() < kErrorLimit && (got = ::read(errors_.get(), buffer, sizeof buffer)) > 0;)
    said.append(buffer, static_cast<std::size_t>(got));
  for (const auto part : split(said, '\n'))
    if (!part.empty() && !part.starts_with("unknown argument ignored"))
      error.add_note(cat("it said: ", printable(part)));
  throw error;
}

void FuseOverlay::require_running(std::chrono::milliseconds patience) {
  if (wait(patience)) fail();
}

void FuseOverlay::finish() {
  if (!wait(kEndTime))
    throw Error("fuse-overlayfs, which shows a command its files, did not end after the command",
                ExitCode::system);
  if (!WIFEXITED(status_) || WEXITSTATUS(status_) != 0) fail();
}

}  // namespace imgbuild::builder
