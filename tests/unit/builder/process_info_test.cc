#include "builder/process_info.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/unique_fd.h"

using namespace imgbuild;
using namespace imgbuild::builder;

TEST_CASE("who catches or blocks SIGTERM notices it, others do not") {
  const auto status = [](const char* blocked, const char* caught) {
    return std::string("Name:\tx\nSigQ:\t0/1\nSigBlk:\t") + blocked +
           "\nSigIgn:\t0000000000004000\nSigCgt:\t" + caught + "\n";
  };
  CHECK_FALSE(notices_sigterm(status("0000000000000000", "0000000180000000")));
  CHECK(notices_sigterm(status("0000000000004000", "0000000000000000")));
  CHECK(notices_sigterm(status("0000000000000000", "0000000000004002")));
  CHECK(notices_sigterm(std::string_view("")));  // not known: it gets its time
}

TEST_CASE("a process is found behind its descriptor, with its state and start") {
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  REQUIRE(pidfd);
  CHECK(pid_of(pidfd.get()) == child);
  CHECK_FALSE(process_state(child).empty());
  CHECK(process_parent(child) == ::getpid());
  const auto start = process_start(child);
  CHECK(start);
  ::kill(child, SIGKILL);
  siginfo_t info;
  ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
  CHECK_FALSE(process_start(child));  // dead, though nobody has asked how it ended
  ::waitpid(child, nullptr, 0);
  CHECK_FALSE(pid_of(pidfd.get()));
  CHECK(process_state(child).empty());
  CHECK_FALSE(process_parent(child));
  CHECK_FALSE(process_start(child));
}
