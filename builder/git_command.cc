#include "builder/git_command.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"

namespace imgbuild::builder {

namespace {

constexpr std::size_t kOutputLimit = 16u << 20;
constexpr std::size_t kErrorLimit = 64u << 10;

/// The `-c` options of NET-22.
const std::vector<std::string> kFixedSettings = {
    "protocol.file.allow=never",
    "protocol.ext.allow=never",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.symlinks=true",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "fetch.recurseSubmodules=false",
    "transfer.fsckObjects=true",
    "credential.helper=",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
    "init.defaultBranch=main",
    "core.autocrlf=false",
    "http.followRedirects=initial",
};

/// ssh without the user's configuration and keys: the agent alone signs, and host keys must be known.
std::string ssh_command(const GitProgram& program) {
  std::string command =
      "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o UpdateHostKeys=no -o "
      "IdentityFile=none "
      "-o ForwardAgent=no -o ClearAllForwardings=yes -o PermitLocalCommand=no -o ProxyCommand=none";
  if (program.known_hosts.empty()) return command;
  const auto special = program.known_hosts.find_first_of("\"'\\%$`\n\r");
  if (special != std::string::npos || !program.known_hosts.starts_with('/'))
    throw Error(cat("the file of known hosts ", printable(program.known_hosts),
                    " needs an absolute path without quotes, % and $"),
                ExitCode::usage);
  return cat(command, " -o 'UserKnownHostsFile=\"", program.known_hosts,
             "\"' -o GlobalKnownHostsFile=/dev/null");
}

std::vector<std::string> make_environment(const GitProgram& program, const std::string& home,
                                          const std::vector<GitSetting>& settings) {
  std::vector<std::string> all = {cat("PATH=", program.search_path),
                                  "LC_ALL=C",
                                  "GIT_TERMINAL_PROMPT=0",
                                  "GIT_CONFIG_NOSYSTEM=1",
                                  "GIT_CONFIG_GLOBAL=/dev/null",
                                  cat("HOME=", home),
                                  "GIT_ALLOW_PROTOCOL=https:http:ssh:git",
                                  "GIT_ASKPASS=true",
                                  "GIT_OPTIONAL_LOCKS=0",
                                  "GIT_LFS_SKIP_SMUDGE=1",
                                  cat("GIT_SSH_COMMAND=", ssh_command(program))};
  if (!program.http_proxy.empty()) all.push_back(cat("http_proxy=", program.http_proxy));
  if (!program.https_proxy.empty()) all.push_back(cat("https_proxy=", program.https_proxy));
  if (!program.no_proxy.empty()) all.push_back(cat("no_proxy=", program.no_proxy));
  if (!program.ca_file.empty()) all.push_back(cat("GIT_SSL_CAINFO=", program.ca_file));
  if (!program.ssh_socket.empty()) all.push_back(cat("SSH_AUTH_SOCK=", program.ssh_socket));
  all.push_back(cat("GIT_CONFIG_COUNT=", settings.size()));
  for (std::size_t i = 0; i < settings.size(); ++i) {
    all.push_back(cat("GIT_CONFIG_KEY_", i, "=", settings[i].key));
    all.push_back(cat("GIT_CONFIG_VALUE_", i, "=", settings[i].value));
  }
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& text : strings) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

struct Pipe {
  UniqueFd read_end, write_end;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw SystemError(errno, "pipe");
    read_end.reset(ends[0]);
    write_end.reset(ends[1]);
  }
};

/// The posix_spawn attributes and actions, given back at the end.
class SpawnPlan {
 public:
  SpawnPlan(const std::string& directory, int out, int err) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
    posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions_, out, 1);
    posix_spawn_file_actions_adddup2(&actions_, err, 2);
    posix_spawn_file_actions_addchdir_np(&actions_, directory.c_str());
    sigset_t none;
    sigset_t defaults;
    sigemptyset(&none);
    sigfillset(&defaults);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &defaults);
    posix_spawnattr_setpgroup(&attributes_, 0);  // a group of its own: ending it ends git's helpers, too
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  pid_t start(const std::string& path, std::vector<std::string> arguments,
              std::vector<std::string> environment) {
    pid_t child = -1;
    const int error = ::posix_spawn(&child, path.c_str(), &actions_, &attributes_, pointers(arguments).data(),
                                    pointers(environment).data());
    if (error != 0) throw SystemError(error, "start", path);
    return child;
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

/// A child that is ended and collected whatever happens.
class Child {
 public:
  explicit Child(pid_t pid) noexcept : pid_(pid) {}
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(-pid_, SIGKILL);
    (void)wait();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  int wait() noexcept {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  pid_t pid_;
};

/// Reads what is there; false at the end of the stream.
bool drain(int fd, std::string& into, std::size_t limit, bool strict) {
  char chunk[16384];
  const ssize_t got = ::read(fd, chunk, sizeof chunk);
  if (got < 0) return errno == EINTR;
  if (got == 0) return false;
  const std::size_t room = limit - into.size();
  if (strict && static_cast<std::size_t>(got) > room) throw Error("git printed more than can be meant");
  into.append(chunk, std::min(room, static_cast<std::size_t>(got)));
  return true;
}

}  // namespace

GitOutcome run_git(const GitProgram& program, const std::string& directory, const std::string& home,
                   const std::vector<GitSetting>& settings, const std::vector<std::string>& arguments,
                   std::stop_token stop) {
  Pipe out;
  Pipe err;
  UniqueFd woken(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!woken) throw SystemError(errno, "eventfd");
  std::vector<std::string> words = {"git"};
  for (const std::string& setting : kFixedSettings) {
    words.push_back("-c");
    words.push_back(setting);
  }
  words.push_back("-c");
  words.push_back(cat("safe.directory=", directory));
  words.insert(words.end(), arguments.begin(), arguments.end());

  SpawnPlan plan(directory, out.write_end.get(), err.write_end.get());
  Child child(plan.start(program.path, std::move(words), make_environment(program, home, settings)));
  out.write_end.reset();
  err.write_end.reset();
  const std::stop_callback on_stop(stop, [&] {
    const std::uint64_t one = 1;
    (void)!::write(woken.get(), &one, sizeof one);
  });

  GitOutcome outcome;
  pollfd set[3] = {
      {out.read_end.get(), POLLIN, 0}, {err.read_end.get(), POLLIN, 0}, {woken.get(), POLLIN, 0}};
  while (set[0].fd >= 0 || set[1].fd >= 0) {
    if (::poll(set, 3, -1) < 0) {
      if (errno == EINTR) continue;
      throw SystemError(errno, "poll");
    }
    if (stop.stop_requested()) throw Cancelled();
    if (set[0].fd >= 0 && set[0].revents != 0 && !drain(set[0].fd, outcome.output, kOutputLimit, true))
      set[0].fd = -1;
    if (set[1].fd >= 0 && set[1].revents != 0 && !drain(set[1].fd, outcome.errors, kErrorLimit, false))
      set[1].fd = -1;
  }
  outcome.exit_code = child.wait();
  return outcome;
}

}  // namespace imgbuild::builder
