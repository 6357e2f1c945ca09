#include "cli/secret_options.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/secret_bytes.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "builder/ssh_keys.h"
#include "cli/usage.h"

namespace imgbuild::cli {

namespace {

constexpr std::uint64_t kMaxSecret = 500 * 1024;  // SEC-1
constexpr std::size_t kMaxSecrets = 64;

/// A regular file, never waited for (SEC-1, ATK-39).
std::string read_whole(const std::string& path, const std::string& what) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file) throw usage(cat(what, ": cannot open ", printable(path)));
  try {
    return read_file(file.get(), kMaxSecret, path);
  } catch (Error& error) {
    error.add_context(cat("reading ", what));
    throw;
  }
}

SecretBytes read_secret_file(const std::string& path, const std::string& id) {
  std::string text = read_whole(path, cat("secret ", printable(id)));
  return SecretBytes::take(text);
}

struct CommandOutput {
  UniqueFd pipe;
  pid_t pid = -1;
};

CommandOutput start_command(std::string command, const std::vector<std::string>& variables) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw SystemError(errno, "create", "a pipe");
  CommandOutput out{UniqueFd(ends[0])};
  const UniqueFd theirs(ends[1]);
  std::string words[] = {"sh", "-c", std::move(command)};
  char* argv[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
  std::vector<std::string> kept = variables;
  std::vector<char*> env;
  for (auto& variable : kept) env.push_back(variable.data());
  env.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, theirs.get(), 1);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none, every;
  ::sigemptyset(&none);
  ::sigfillset(&every);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &every);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  const int failed = ::posix_spawn(&out.pid, "/bin/sh", &actions, &attributes, argv, env.data());
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) throw SystemError(failed, "start", "/bin/sh");
  return out;
}

/// What `command` prints, without the last line end, as $(…) has it.
SecretBytes run_secret_command(const std::string& id, const std::string& command,
                               const std::vector<std::string>& variables) {
  CommandOutput output = start_command(command, variables);
  std::string text;
  text.reserve(kMaxSecret + 1);  // so that no copy stays behind
  char buffer[4096];
  for (;;) {
    const ssize_t got = ::read(output.pipe.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    const auto room = static_cast<std::size_t>(kMaxSecret + 1 - text.size());
    text.append(buffer, std::min(room, static_cast<std::size_t>(got)));
    if (text.size() > kMaxSecret) break;
  }
  ::explicit_bzero(buffer, sizeof buffer);
  output.pipe.reset();
  int status = 0;
  while (::waitpid(output.pid, &status, 0) < 0 && errno == EINTR) {
  }
  const bool too_long = text.size() > kMaxSecret;
  if (text.ends_with('\n')) text.back() = '\0', text.resize(text.size() - 1);
  SecretBytes value = SecretBytes::take(text);
  if (too_long) throw usage(cat("secret ", printable(id), ": its command printed more than 500 KiB"));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw Error(cat("secret ", printable(id), ": its command failed with exit code ",
                    WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)));
  }
  return value;
}

/// The fields of one --secret.
struct SecretFields {
  std::string id, source, variable, type;
  std::optional<std::string> command;
};

SecretFields parse_fields(const std::string& text) {
  SecretFields out;
  for (const auto& field : split_csv(text)) {
    const auto equals = field.find('=');
    if (equals == std::string::npos || equals == 0)
      throw usage(cat("--secret wants NAME=VALUE, not \"", printable(field), "\""));
    const std::string key = field.substr(0, equals), value = field.substr(equals + 1);
    if (key == "id")
      out.id = value;
    else if (key == "src" || key == "source")
      out.source = value;
    else if (key == "env")
      out.variable = value;
    else if (key == "type")
      out.type = value;
    else if (key == "command")
      out.command = value;
    else
      throw usage(cat("--secret: unknown key \"", printable(key), "\"; use id, src, env, command or type"));
  }
  if (out.id.empty())
    throw usage(cat("--secret needs an id: --secret id=NAME,src=FILE, not \"", printable(text), "\""));
  if (!out.type.empty() && out.type != "file" && out.type != "env" && out.type != "command")
    throw usage(cat("--secret: type is file, env or command, not \"", printable(out.type), "\""));
  const int sources = (out.source.empty() ? 0 : 1) + (out.variable.empty() ? 0 : 1) + (out.command ? 1 : 0);
  if (sources > 1) throw usage("--secret: src, env and command exclude one another");
  if (out.command && out.command->empty()) throw usage("--secret: the command is empty");
  if (out.type == "command" && !out.command)
    throw usage("--secret: type=command needs command=…")
        .with_note("put quotes around commas: \"command=a,b\"");
  return out;
}

/// `id=X[,src=FILE|,env=NAME|,command=TEXT]`; without a source the environment variable X, then the file X
/// (as buildx does).
std::shared_ptr<const builder::Secret> make_secret(const SecretFields& fields,
                                                   const Environment& environment) {
  const std::string& id = fields.id;
  if (fields.command) {
    std::vector<std::string> variables;
    for (const auto& [name, value] : environment.variables) variables.push_back(cat(name, "=", value));
    return std::make_shared<builder::Secret>(
        [id, command = *fields.command, variables] { return run_secret_command(id, command, variables); });
  }
  std::string source = fields.source, variable = fields.variable;
  if (fields.type == "env" && variable.empty()) variable = source.empty() ? id : source, source.clear();
  if (!source.empty()) return std::make_shared<builder::Secret>(read_secret_file(source, id));
  if (!variable.empty()) {
    const auto value = environment.find(variable);
    if (!value)
      throw usage(
          cat("secret ", printable(id), ": the environment variable ", printable(variable), " is not set"));
    if (value->size() > kMaxSecret) throw usage(cat("secret ", printable(id), " is longer than 500 KiB"));
    return std::make_shared<builder::Secret>(*value);
  }
  if (const auto value = environment.find(id)) return std::make_shared<builder::Secret>(*value);
  return std::make_shared<builder::Secret>(read_secret_file(id, id));
}

/// `default`, `ID=SOCKET` or `ID=KEY[,KEY…]`; without a path the caller's agent (SEC-20).
void add_ssh(const std::string& text, const Environment& environment, builder::SecretStore& secrets) {
  const auto equals = text.find('=');
  const std::string id = text.substr(0, equals);
  if (id.empty()) throw usage("--ssh wants default, ID=SOCKET or ID=KEY[,KEY…]");
  if (equals == std::string::npos) {
    const auto agent = environment.find("SSH_AUTH_SOCK");
    if (!agent || agent->empty()) {
      throw usage(cat("--ssh ", printable(id), ": no agent is running (SSH_AUTH_SOCK is not set)"))
          .with_note("start one with eval $(ssh-agent), or name a socket or a key: --ssh default=PATH");
    }
    secrets.ssh_sockets.insert({id, *agent});
    return;
  }
  const auto paths = split_csv(text.substr(equals + 1));
  std::vector<builder::SshKey> keys;
  for (const auto& path : paths) {
    struct stat info {};
    if (path.empty() || ::stat(path.c_str(), &info) != 0)
      throw usage(cat("--ssh ", printable(id), ": cannot open \"", printable(path), "\""));
    if (S_ISSOCK(info.st_mode)) {
      if (paths.size() > 1)
        throw usage(cat("--ssh ", printable(id), ": one socket or several keys, not both"));
      secrets.ssh_sockets.insert({id, path});
      return;
    }
    const SecretBytes content = read_secret_file(path, cat("ssh key ", id));
    keys.push_back(builder::parse_ssh_key(content.view(), path));
  }
  secrets.ssh_keys.insert({id, std::make_shared<builder::SshKeys>(std::move(keys))});
}

}  // namespace

void apply_secret_options(const BuildOptions& options, const Environment& environment,
                          builder::BuildRequest& request) {
  if (options.secrets.size() > kMaxSecrets) throw usage(cat("more than ", kMaxSecrets, " secrets"));
  // From here on nobody may look into this process, and it leaves no core dump (SEC-10).
  if (!options.secrets.empty() || !options.ssh.empty()) (void)::prctl(PR_SET_DUMPABLE, 0);
  builder::SecretStore& secrets = request.secrets;
  for (const auto& text : options.secrets) {
    const SecretFields fields = parse_fields(text);
    secrets.values.insert({fields.id, make_secret(fields, environment)});
  }
  for (const auto& text : options.ssh) add_ssh(text, environment, secrets);
  secrets.allow_leak = options.allow_secret_leak;
}

}  // namespace imgbuild::cli
