#include "builder/private_network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <exception>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/strings.h"

namespace imgbuild::builder {

namespace {

constexpr std::size_t kErrorLimit = 16 * 1024;
constexpr auto kStartTime = std::chrono::seconds(15);
constexpr int kNamespaceFd = 3;  // in the program
constexpr int kReadyFd = 4;

/// Runs `work` on a thread of its own, whose namespaces may differ from ours; rethrows what it threw.
template <typename Work>
void on_own_thread(const Work& work) {
  std::exception_ptr failure;
  std::jthread([&] {
    try {
      work();
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
}

UniqueFd make_namespace() {
  UniqueFd made;
  on_own_thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) throw SystemError(errno, "create", "a network namespace");
    made = UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!made) throw SystemError(errno, "open", "the network namespace");
  });
  return made;
}

std::vector<std::string> command_line(NetworkProgram program, bool reach_host) {
  const std::string place = cat("/proc/self/fd/", kNamespaceFd);
  if (program == NetworkProgram::slirp4netns) {
    std::vector<std::string> words = {"slirp4netns", "--configure", "--mtu=65520",
                                      cat("--ready-fd=", kReadyFd), "--netns-type=path"};
    if (!reach_host) words.emplace_back("--disable-host-loopback");
    words.insert(words.end(), {place, "tap0"});
    return words;
  }
  // No port is forwarded in either direction; DNS is answered at an address of its own. It would change to
  // the user nobody, who may not configure a namespace of ours.
  std::vector<std::string> words = {
      "pasta", "--config-net", "--quiet", "--runas", "0:0",  "--netns-only",  "-t",         "none", "-u",
      "none",  "-T",           "none",    "-U",      "none", "--dns-forward", "169.254.1.1"};
  if (!reach_host) words.emplace_back("--no-map-gw");
  words.insert(words.end(), {"--netns", place});
  return words;
}

/// What the guard needs; everything is prepared, since it may not allocate.
struct GuardPlan {
  const char* path;
  char** argv;
  char** env;
  int name_space, ready, errors, null;
  int builder;  ///< pidfd of the builder
  bool forks_when_ready;
};

[[noreturn]] void run_program(const GuardPlan& plan) {
  const bool connected = ::dup2(plan.null, 0) >= 0 && ::dup2(plan.null, 1) >= 0 &&
                         ::dup2(plan.errors, 2) >= 0 && ::dup2(plan.name_space, kNamespaceFd) >= 0 &&
                         ::dup2(plan.ready, kReadyFd) >= 0;
  if (connected) {
    ::syscall(SYS_close_range, 5u, ~0u, 0);
    ::execve(plan.path, plan.argv, plan.env);
  }
  ::_exit(127);
}

/// The first process of the program's pid namespace. Says when the program is ready, or that it is not, then
/// waits to be ended: what it started ends with it.
[[noreturn]] void guard(const GuardPlan& plan) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  pollfd gone{plan.builder, POLLIN, 0};
  if (::poll(&gone, 1, 0) != 0) ::_exit(1);
  ::prctl(PR_SET_DUMPABLE, 0);
  ::prctl(PR_SET_NAME, "imgbuild-net");
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &standard, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::setsid();
  const pid_t child = static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  if (child == 0) run_program(plan);
  if (child < 0) ::_exit(1);
  // Only the answer is kept: locks and pipes of the builder must not live on in here.
  const int ready = ::dup2(plan.ready, 3);
  ::syscall(SYS_close_range, 4u, ~0u, 0);
  for (int fd = 0; fd < 3; ++fd) ::close(fd);
  for (;;) {
    int status = 0;
    const pid_t ended = ::waitpid(-1, &status, 0);
    if (ended < 0 && errno == EINTR) continue;
    if (ended < 0) ::_exit(0);
    if (ended != child) continue;
    if (!plan.forks_when_ready || !WIFEXITED(status) || WEXITSTATUS(status) != 0) ::_exit(1);
    if (::write(ready, "1", 1) != 1) ::_exit(1);
    ::close(ready);
  }
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (auto& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

UniqueFd high(UniqueFd fd) {
  UniqueFd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 16));
  if (!moved) throw SystemError(errno, "duplicate", "a descriptor");
  return moved;
}

/// Read end and write end, the latter above the numbers the program uses. Never blocks: nobody may read what
/// a program says later.
std::pair<UniqueFd, UniqueFd> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw SystemError(errno, "create", "a pipe");
  UniqueFd read(ends[0]), write(ends[1]);
  return {std::move(read), high(std::move(write))};
}

}  // namespace

std::optional<std::string> find_network_program(NetworkProgram program) {
  const std::string name = program == NetworkProgram::pasta ? "pasta" : "slirp4netns";
  for (const char* directory : {"/usr/local/bin/", "/usr/bin/", "/bin/"}) {
    const std::string path = cat(directory, name);
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return std::nullopt;
}

PrivateNetwork::PrivateNetwork(NetworkProgram program, const std::string& path, bool reach_host,
                               std::stop_token stop)
    : program_(program), namespace_(make_namespace()) {
  try {
    start(path, reach_host);
    wait_until_ready(std::move(stop));
  } catch (...) {
    end();
    throw;
  }
}

PrivateNetwork::~PrivateNetwork() { end(); }

void PrivateNetwork::start(const std::string& path, bool reach_host) {
  auto [ready_read, ready_write] = make_pipe();
  auto [errors_read, errors_write] = make_pipe();
  const UniqueFd null = high(open_path("/dev/null", O_RDWR));
  const UniqueFd name_space = high(namespace_.duplicate());
  const UniqueFd self(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!self) throw SystemError(errno, "open", "the builder's process");
  std::vector<std::string> words = command_line(program_, reach_host);
  std::vector<std::string> variables = {"PATH=/usr/bin:/bin", "LC_ALL=C"};
  std::vector<char*> argv = pointers(words), env = pointers(variables);
  const GuardPlan plan{path.c_str(),     argv.data(),       env.data(),
                       name_space.get(), ready_write.get(), errors_write.get(),
                       null.get(),       self.get(),        program_ == NetworkProgram::pasta};
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_NEWPID | CLONE_PIDFD;
  args.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid < 0 && errno == ENOSYS)
    pid = ::syscall(SYS_clone, (args.flags & 0xffffffffu) | SIGCHLD, nullptr, &pidfd, nullptr, 0);
  if (pid == 0) guard(plan);
  if (pid < 0) throw SystemError(errno, "start", path);
  guard_pid_ = static_cast<pid_t>(pid);
  guard_ = Pidfd(UniqueFd(pidfd));
  ready_ = std::move(ready_read);
  errors_ = std::move(errors_read);
}

void PrivateNetwork::wait_until_ready(std::stop_token stop) {
  const UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) throw SystemError(errno, "create", "an event descriptor");
  const std::stop_callback on_stop(stop, [&] { ::eventfd_write(wake.get(), 1); });
  const auto deadline = std::chrono::steady_clock::now() + kStartTime;
  const std::string name = program_ == NetworkProgram::pasta ? "pasta" : "slirp4netns";
  std::string said;
  for (;;) {
    pollfd waits[] = {
        {ready_.get(), POLLIN, 0}, {errors_ ? errors_.get() : -1, POLLIN, 0}, {wake.get(), POLLIN, 0}};
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) throw Error(cat(name, " did not bring up the network in time"), ExitCode::system);
    if (::poll(waits, 3, static_cast<int>(left)) < 0 && errno != EINTR) throw SystemError(errno, "poll");
    if (stop.stop_requested()) throw Cancelled();
    char buffer[4096];
    if (waits[1].revents != 0) {
      const ssize_t got = ::read(errors_.get(), buffer, sizeof buffer);
      if (got > 0 && said.size() < kErrorLimit) said.append(buffer, static_cast<std::size_t>(got));
      if (got == 0) errors_.reset();
      continue;  // all that was said comes before the end
    }
    if (waits[0].revents == 0) continue;
    if (::read(ready_.get(), buffer, 1) == 1) break;
    Error failure(cat(name, " could not set up a private network"), ExitCode::system);
    if (!trim(said).empty()) failure.add_note(printable(trim(said)));
    throw failure;
  }
  ready_.reset();
}

void PrivateNetwork::end() noexcept {
  if (guard_pid_ <= 0) return;
  guard_.kill(SIGKILL);
  while (::waitpid(guard_pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  guard_pid_ = -1;
}

std::string PrivateNetwork::name_server() const {
  return program_ == NetworkProgram::pasta ? "169.254.1.1" : "10.0.2.3";
}

UniqueFd open_network_namespace(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!fd) throw SystemError(errno, "open the network namespace", path);
  struct statfs info {};
  const bool is_namespace = ::fstatfs(fd.get(), &info) == 0 && info.f_type == NSFS_MAGIC &&
                            ::ioctl(fd.get(), NS_GET_NSTYPE) == CLONE_NEWNET;
  if (!is_namespace) {
    throw Error(cat(printable(path), " is not a network namespace"), ExitCode::usage)
        .with_note("name one as --network=ns:/run/netns/NAME or ns:/proc/PID/ns/net");
  }
  return fd;
}

std::optional<std::string> default_gateway(int namespace_fd) {
  std::string table;
  on_own_thread([&] {
    if (::setns(namespace_fd, CLONE_NEWNET) != 0) throw SystemError(errno, "enter", "the network namespace");
    const UniqueFd file = open_path("/proc/thread-self/net/route", O_RDONLY);
    char buffer[4096];
    for (ssize_t got = 0; (got = ::read(file.get(), buffer, sizeof buffer)) > 0 && table.size() < 256 * 1024;)
      table.append(buffer, static_cast<std::size_t>(got));
  });
  return parse_default_gateway(table);
}

std::optional<std::string> parse_default_gateway(const std::string& route_table) {
  for (const auto line : split(route_table, '\n')) {
    const auto fields = split(line, '\t');
    if (fields.size() < 8 || fields[1] != "00000000" || fields[7] != "00000000") continue;
    std::uint32_t raw = 0;
    const auto& text = fields[2];
    const auto end = std::from_chars(text.data(), text.data() + text.size(), raw, 16);
    if (end.ec != std::errc() || end.ptr != text.data() + text.size() || raw == 0) continue;
    const in_addr address{raw};  // the table shows the bytes as they lie in memory
    char buffer[INET_ADDRSTRLEN];
    if (::inet_ntop(AF_INET, &address, buffer, sizeof buffer) != nullptr) return std::string(buffer);
  }
  return std::nullopt;
}

}  // namespace imgbuild::builder
