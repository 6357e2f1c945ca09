#include "cli/app.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <system_error>

#include "base/error.h"
#include "base/strings.h"
#include "cli/commands/commands.h"
#include "cli/options.h"
#include "cli/render_error.h"
#include "cli/signals.h"
#include "cli/usage_error.h"

extern char** environ;

namespace imgbuild::cli {

namespace {

Environment read_environment() {
  Environment environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0) continue;
    environment.variables.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

/// A closed standard descriptor would be given to the next file that is opened, and output would go into it
/// (ATK-148).
void reopen_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) < 0)
      (void)::open("/dev/null", O_RDWR);  // takes the lowest free number: this one
  }
}

/// Every layer below a step is a descriptor or two, and 500 of them are more than the usual soft limit.
/// Commands get limits of their own (SBX-77).
void raise_descriptor_limit() {
  struct rlimit files {};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= files.rlim_max) return;
  files.rlim_cur = std::max(files.rlim_cur, std::min<rlim_t>(files.rlim_max, 65536));
  (void)::setrlimit(RLIMIT_NOFILE, &files);  // without it long builds may fail, and say why
}

void print_error(const Error& error) {
  const std::string text = render_error(error, ::isatty(STDERR_FILENO) == 1);
  std::cerr << text << std::flush;
}

/// `imgbuild -t x .` is `imgbuild build -t x .`: the word is added when the first argument is no command.
std::vector<std::string> with_default_command(int argc, char** argv,
                                              const std::vector<std::string>& commands) {
  std::vector<std::string> words(argv + 1, argv + argc);
  static const std::vector<std::string> kTopLevel = {"-h", "--help", "--version"};
  const auto is_one_of = [](const std::vector<std::string>& list, const std::string& word) {
    return std::find(list.begin(), list.end(), word) != list.end();
  };
  if (!words.empty() && !is_one_of(commands, words[0]) && !is_one_of(kTopLevel, words[0])) {
    words.insert(words.begin(), "build");
  }
  return words;
}

}  // namespace

int run_app(int argc, char** argv) {
  reopen_standard_descriptors();
  raise_descriptor_limit();
  const Environment environment = read_environment();
  CommandContext context{environment, {}};
  CLI::App app{"imgbuild compiles Dockerfiles into layered OCI images, without a daemon."};
  app.name("imgbuild");
  app.set_version_flag("--version", std::string("imgbuild ") + IMGBUILD_VERSION);
  app.require_subcommand(1);
  app.footer("Without a command, `imgbuild [OPTIONS] CONTEXT` is `imgbuild build [OPTIONS] CONTEXT`.");

  std::function<int()> chosen;
  std::vector<std::string> names;
  for (const auto& add : all_commands()) names.push_back(add(app, context, chosen));

  std::vector<std::string> words = with_default_command(argc, argv, names);
  std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
  try {
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    const Error wrong = usage_error(app, error);
    print_error(wrong);
    return static_cast<int>(wrong.code());
  }
  try {
    return chosen();
  } catch (const Cancelled&) {
    std::cerr << "cancelled\n";
    return static_cast<int>(ExitCode::interrupted);
  } catch (const Error& error) {
    print_error(error);
    return static_cast<int>(error.code());
  } catch (const std::system_error& error) {  // from the library: mostly a thread that cannot be started
    print_error(
        Error(cat("the system refuses a thread: ", to_lower(error.code().message())), ExitCode::system)
            .with_note("is there a limit on processes, or does a filter deny clone3 with another error than "
                       "ENOSYS?"));
    return static_cast<int>(ExitCode::system);
  } catch (const std::bad_alloc&) {
    print_error(Error("out of memory", ExitCode::system));
    return static_cast<int>(ExitCode::system);
  }
}

}  // namespace imgbuild::cli
